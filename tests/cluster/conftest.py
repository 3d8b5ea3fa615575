"""Three pretend machines, and a Ray cluster on two of them that the third has brought up."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.cluster.hosts import Hosts, why_not
from tests.journey.conftest import digests, wait_for

ROOT = Path(__file__).parents[2]
ADDRESSES = {"laptop": "10.77.6.9", "head": "10.77.6.1", "worker": "10.77.6.2"}
Train = Callable[..., dict[str, str]]
CLUSTER = "cluster-here.yaml"
SUBMIT = f"ray submit {CLUSTER} orchestrator/__main__.py run"
PROJECT = "/root/experiments-of-mine"
"""The working copy on the laptop."""
SMALL = """
data: {dataset: digits, train_size: 200, batch_size: 50}
model: {architecture: small_cnn, sync_batch_norm: true}
loss: {label_smoothing: {grid: [0, 0.4]}}
training: {epochs: 2}
resources: {num_workers: 2}
"""
"""An experiment without its name: two workers train each run together."""
LONGER = SMALL.replace("train_size: 200, batch_size: 50", "train_size: 600, batch_size: 20")
LONGER = LONGER.replace("epochs: 2", "epochs: 16")
SOONER = (
    "RAY_gcs_rpc_server_reconnect_timeout_s=20 RAY_health_check_period_ms=1000 "
    "RAY_health_check_timeout_ms=3000 AUTOSCALER_HEARTBEAT_TIMEOUT_S=10"
)
"""A machine notices within half a minute that another has gone, not within two."""
WAIT_FOR_BOTH = """
import time, ray
ray.init(address="auto", logging_level="ERROR")
deadline = time.monotonic() + 120
while sum(node["Alive"] for node in ray.nodes()) < 2:
    assert time.monotonic() < deadline, ray.nodes()
    time.sleep(0.2)
"""


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A laptop with the project and an experimenter's settings, a head and a worker."""
    reason = why_not()
    if reason:
        pytest.skip(f"no pretend machines: {reason}")
    folder = tmp_path_factory.mktemp("hosts")
    made = Hosts(folder, ADDRESSES, _needed())
    try:
        made.up()
        for name in ADDRESSES:
            _pretend_installed(made, name)
        copy_project(made)
        made.run("laptop", "ray get-auth-token --generate")
        yield made
    finally:
        made.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(hosts: Hosts) -> Iterator[Hosts]:
    """The machines, with `ray up` done; `ray down` afterwards."""
    on_laptop(hosts, f"ray up -y {CLUSTER}")
    # The head starts the worker by itself, when `ray up` has ended already.
    hosts.run("head", f"python -c '{WAIT_FOR_BOTH}'")
    yield hosts
    on_laptop(hosts, f"ray down -y {CLUSTER}")
    # A worker's Ray ends by itself when its head has gone for a while.
    for name in ("head", "worker"):
        wait_for(lambda name=name: _has_no_ray(hosts, name), timeout_s=120)


def _has_no_ray(hosts: Hosts, name: str) -> bool:
    return hosts.run(name, "pgrep -x raylet; pgrep -x gcs_server", check=False).stdout == ""


def on_laptop(
    hosts: Hosts, script: str, *, check: bool = True, timeout_s: float = 280
) -> "subprocess.CompletedProcess[str]":
    """What the experimenter types, in the project's folder."""
    return hosts.run("laptop", f"cd {PROJECT}\n{script}", check=check, timeout_s=timeout_s)


@pytest.fixture(scope="session")
def train_here(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train an experiment on this machine alone: each run's weights, as a digest."""
    folder = tmp_path_factory.mktemp("here")

    # No run's name is among its numbers.
    @cache
    def train(spec: str, *overrides: str) -> dict[str, str]:
        name = f"here-{uuid.uuid4().hex[:6]}"
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{spec}")
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "ORCHESTRATOR_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "run", f"{name}.yaml", *overrides],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr
        return weights_of((folder / "runs" / name / "1" / "journal.jsonl").read_text())

    return train


def weights_on_cluster(hosts: Hosts, name: str, *, storage: str = "results") -> dict[str, str]:
    """The same, of the first search of a name that the cluster has trained."""
    return weights_of((hosts.shared / storage / name / "1" / "journal.jsonl").read_text())


def weights_of(journal: str) -> dict[str, str]:
    """Setting and seed of each run to a digest of its weights."""
    found = {run.split("/")[2]: digest for run, digest in digests(journal).items()}
    assert found
    return found


def write_spec(hosts: Hosts, name: str, spec: str) -> None:
    """Write an experiment into the working copy."""
    write(hosts, "laptop", f"{PROJECT}/{name}.yaml", f"name: {name}\n{spec}")


def copy_project(hosts: Hosts) -> None:
    """A working copy on the laptop, with the cluster's file for these machines."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    packed = subprocess.Popen(
        ["tar", "--create", "--null", "--files-from=-", "--ignore-failed-read"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    unpacking = subprocess.Popen(
        hosts.command("laptop", f"mkdir -p {PROJECT} && tar -xf - -C {PROJECT}"),
        cwd="/",
        stdin=packed.stdout,
    )
    assert packed.stdin is not None
    packed.stdin.write(listed)
    packed.stdin.close()
    assert unpacking.wait(60) == 0
    assert packed.wait(60) == 0
    write(hosts, "laptop", f"{PROJECT}/{CLUSTER}", yaml.safe_dump(cluster_file()))


def cluster_file() -> dict[str, object]:
    """`cluster-onprem.yaml` as its user would edit it for these machines."""
    file = yaml.safe_load((ROOT / "cluster-onprem.yaml").read_text())
    file["provider"].update(head_ip=ADDRESSES["head"], worker_ips=[ADDRESSES["worker"]])
    file["auth"].update(ssh_user="root")
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        # They share the memory and the cores of one machine.
        file[commands] = [
            command.replace(
                "ray start",
                f"{SOONER} ray start --num-cpus=1 --object-store-memory=80000000",
            )
            for command in file[commands]
        ]
    return file


def write(hosts: Hosts, name: str, path: str, text: str) -> None:
    """Write a file on a machine."""
    subprocess.run(
        hosts.command(name, f"cat > {path}"), cwd="/", input=text, text=True, check=True
    )


def _needed() -> list[Path]:
    """Folders that Python needs: the environment's, and others that it looks into."""
    prefixes = (Path(sys.prefix), Path(sys.base_prefix))
    paths = [*prefixes, *(Path(entry) for entry in sys.path if "site-packages" in entry)]
    return [path for path in dict.fromkeys(paths) if path.is_dir()]


def _pretend_installed(hosts: Hosts, name: str) -> None:
    """This environment, where the setup of the cluster's file would have made one."""
    hosts.run(name, f"ln -s {sys.prefix} ~/environment")
    installed = os.path.join(sys.prefix, "installed.txt")  # noqa: PTH118
    write(hosts, name, installed, (ROOT / "constraints.txt").read_text())
