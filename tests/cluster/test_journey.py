"""The long trip: what a week with a cluster brings, on the same machines as the short one."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import (
    CLUSTER,
    LONGER,
    PROJECT,
    ROOT,
    SMALL,
    SUBMIT,
    Train,
    on_laptop,
    weights_of,
    weights_on_cluster,
    write,
    write_spec,
)
from tests.cluster.hosts import Hosts, kill_ssh
from tests.journey.conftest import wait_for, wait_for_text
from tests.terminal import Terminal

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

RUN = "python -m orchestrator run"
TUNNEL = """
export RAY_AUTH_MODE=token
ssh -o StrictHostKeyChecking=no -N -L 8265:localhost:8265 head & tunnel=$!
until (exec 3<>/dev/tcp/localhost/8265) 2>/dev/null; do sleep 0.1; done
"""
LOOK_AT_MLFLOW = """
import json, time, urllib.request
address = "http://127.0.0.1:5000/api/2.0/mlflow/"
asked = json.dumps({"max_results": 10, "filter": "name = \\"pages\\""}).encode()
headers = {"Content-Type": "application/json"}
deadline = time.monotonic() + 200
while True:
    try:
        request = urllib.request.Request(address + "experiments/search", asked, headers)
        found = json.load(urllib.request.urlopen(request))["experiments"]
        break
    except OSError:
        assert time.monotonic() < deadline
        time.sleep(0.5)
ids = [entry["experiment_id"] for entry in found]
asked = json.dumps({"experiment_ids": ids}).encode()
request = urllib.request.Request(address + "runs/search", asked, headers)
for run in json.load(urllib.request.urlopen(request))["runs"]:
    print(run["info"]["run_name"])
"""
LISTING = """#!/bin/sh
echo "GPU 0: NVIDIA L4 (UUID: GPU-1f2e3d4c-0000-4a4b-8c8d-aaaaaaaaaaaa)"
echo "GPU 1: NVIDIA L4 (UUID: GPU-1f2e3d4c-1111-4a4b-8c8d-bbbbbbbbbbbb)"
"""
SHOW_NODE = """
import json, ray
ray.init(address="auto", logging_level="ERROR")
(node,) = ray.nodes()
print("NODE", json.dumps({"resources": node["Resources"], "labels": node["Labels"]}))
"""


def test_a_dropped_connection_changes_no_bit(cluster: Hosts, train_here: Train) -> None:
    """SSH dies under a search: it goes on, says so in its folder, ends with the same bits."""
    # Of its own: what another test has trained there would be reused.
    spec = f"{LONGER}seed: 9\n"
    write_spec(cluster, "dropped", spec)
    command = f"cd {PROJECT}; {RUN} --cluster {CLUSTER} dropped.yaml"
    submitted = cluster.start("laptop", f"{command} > said.txt 2>&1")
    folder = cluster.shared / "results/dropped/1"
    wait_for_text(folder / "journal.jsonl", '"kind": "epoch"')

    kill_ssh(cluster, "laptop")

    assert submitted.wait(60) == 3
    last = on_laptop(cluster, "tail -n 1 said.txt").stdout
    assert last.startswith("lab: no word came back: the connection or the head was lost; ")
    assert '"kind": "answer"' not in (folder / "journal.jsonl").read_text()
    wait_for_text(folder / "journal.jsonl", '"kind": "answer"')
    wait_for_text(folder / "output.txt", "took ")
    text = (folder / "output.txt").read_text()
    assert text.startswith("the connection was lost; the run goes on\n")
    assert "dropped#1: val/accuracy" in text
    assert weights_on_cluster(cluster, "dropped") == train_here(spec)

    # The same command answers from the records and brings them.
    said = on_laptop(cluster, f"{RUN} --cluster {CLUSTER} dropped.yaml")
    assert "nothing to train" in said.stdout
    copied = on_laptop(cluster, "cat runs/@lab/dropped/1/journal.jsonl").stdout
    assert weights_of(copied) == weights_on_cluster(cluster, "dropped")


def test_ctrl_c_reaches_the_head(cluster: Hosts) -> None:
    """Ctrl-C stops the search there and keeps what was done, here too; the same goes on."""
    write_spec(cluster, "stopped", f"{LONGER.replace('epochs: 16', 'epochs: 60')}seed: 8\n")
    command = f"cd {PROJECT}; {RUN} --cluster {CLUSTER} stopped.yaml"
    terminal = Terminal(cluster.command("laptop", command), folder=Path("/"))
    wait_for(lambda: "epoch 2/60" in terminal.text)

    terminal.type("\x03")

    assert terminal.process.wait(100) == 130, terminal.text
    journal = (cluster.shared / "results/stopped/1/journal.jsonl").read_text()
    assert '"status": "stopped"' in journal
    assert f"brought   {PROJECT}/runs/@lab/stopped/1" in terminal.text
    assert on_laptop(cluster, "cat runs/@lab/stopped/1/journal.jsonl").stdout == journal
    terminal.hang_up()
    again = on_laptop(cluster, f"{RUN} --cluster {CLUSTER} stopped.yaml --dry-run")
    assert "goes on" in again.stdout


def test_a_job_streams_through_a_tunnel(cluster: Hosts, train_here: Train) -> None:
    """`ray job submit`, by SSH's tunnel alone: its log ends with the answer."""
    spec = f"{SMALL}seed: 2\n"
    write_spec(cluster, "job", spec)

    said = on_laptop(
        cluster,
        f"{TUNNEL} ray job submit --address http://127.0.0.1:8265 --working-dir . -- "
        "python -m orchestrator run job.yaml; status=$?; kill $tunnel; exit $status",
    )

    mine = on_laptop(cluster, "python -m orchestrator digest job.yaml").stdout.strip()
    assert f"digest {mine}, as `orchestrator digest job.yaml` says here" in said.stdout
    assert "[2/2] label_smoothing=0.4 seed=2  val/accuracy" in said.stdout
    assert "job#1: val/accuracy" in said.stdout
    assert weights_on_cluster(cluster, "job") == train_here(spec)


def test_a_node_declares_its_gpus(hosts: Hosts) -> None:
    """Ray takes what `cluster.yaml` makes a worker say: a token and a UUID for each GPU."""
    (start,) = [
        command
        for command in yaml.safe_load((ROOT / "cluster.yaml").read_text())[
            "worker_start_ray_commands"
        ]
        if "ray start" in command
    ]
    said = start[start.index("--resources") :]
    write(hosts, "laptop", "/usr/local/bin/nvidia-smi", LISTING)
    write(hosts, "laptop", f"{PROJECT}/nodes.py", SHOW_NODE)

    shown = on_laptop(
        hosts,
        "chmod +x /usr/local/bin/nvidia-smi; export RAY_AUTH_MODE=token\n"
        f"ray start --head --num-cpus=1 --object-store-memory=80000000 {said}\n"
        "python nodes.py; status=$?; rm /usr/local/bin/nvidia-smi; ray stop; exit $status",
    )

    node = json.loads(shown.stdout.split("NODE ")[1].splitlines()[0])
    assert {key: node["resources"].get(key) for key in ("gpu_0", "gpu_1")} == {
        "gpu_0": 1,
        "gpu_1": 1,
    }
    assert node["labels"]["gpu_0"] == "GPU-1f2e3d4c-0000-4a4b-8c8d-aaaaaaaaaaaa"
    assert node["labels"]["gpu_1"] == "GPU-1f2e3d4c-1111-4a4b-8c8d-bbbbbbbbbbbb"


def test_pages_are_seen_through_ssh_alone(cluster: Hosts) -> None:
    """Ray's dashboard answers on the head's loopback and not on its address."""
    knock = "(exec 3<>/dev/tcp/{}/8265) 2>/dev/null"

    assert cluster.run("head", knock.format("localhost"), check=False).returncode == 0
    assert cluster.run("laptop", knock.format("head"), check=False).returncode != 0


def test_mlflows_pages_come_through_ssh(cluster: Hosts) -> None:
    """`ray exec -p 5000 … 'orchestrator ui'` shows the head's MLflow on the user's machine."""
    write_spec(cluster, "pages", f"{SMALL}seed: 7\n")
    on_laptop(cluster, f"ray rsync-up {CLUSTER}; {SUBMIT} pages.yaml")
    shown = cluster.start(
        "laptop",
        f"cd {PROJECT}; ray exec -p 5000 {CLUSTER} "
        "'cd project && python -m orchestrator ui pages'",
    )

    said = on_laptop(cluster, f"python -c '{LOOK_AT_MLFLOW}'")

    assert "pages#1" in said.stdout
    kill_ssh(cluster, "laptop")
    assert shown.wait(60) != 0


def test_a_short_form_does_all_of_it(cluster: Hosts, train_here: Train) -> None:
    """`run --cluster` copies, trains there, follows, brings records that `compare` reads."""
    spec = f"{SMALL}seed: 3\n"
    write_spec(cluster, "short", spec)

    said = on_laptop(cluster, f"{RUN} --cluster {CLUSTER} short.yaml 'loss={{}}'")

    assert "short#1: val/accuracy" in said.stdout
    assert f"brought   {PROJECT}/runs/@lab/short/1" in said.stdout
    compared = on_laptop(cluster, "python -m orchestrator compare short#1 --storage runs/@lab")
    assert compared.stdout.strip() in said.stdout.replace("\r", "")
    weights = on_laptop(cluster, "ls runs/@lab/short/1/seed=3").stdout.split()
    assert {"last.safetensors", "receipt.json", "scores.json"} <= set(weights)
    here = train_here(spec, "loss={}")
    assert weights_on_cluster(cluster, "short") == here


def test_the_exit_status_comes_through(cluster: Hosts) -> None:
    """`run --cluster` ends as the run did: 3 for too few machines, 4 where all runs fail."""
    write_spec(cluster, "status", f"{SMALL}seed: 4\n")
    command = f"{RUN} --cluster {CLUSTER} status.yaml"

    large = on_laptop(cluster, f"{command} resources.num_workers=5", check=False)
    failed = on_laptop(cluster, f"{command} optimizer.lr=1e30", check=False)

    assert large.returncode == 3
    assert "resources.num_workers: 5 workers of 1 CPU each do not fit" in large.stdout
    assert failed.returncode == 4
    assert "every run failed; the first, status/1/" in failed.stdout
    assert "Traceback" not in large.stdout + failed.stdout


def test_what_is_stale_is_noticed(cluster: Hosts) -> None:
    """An experiment, or code, that was not copied is not run by mistake; nothing is made."""
    write_spec(cluster, "stale", f"{SMALL}seed: 5\n")
    on_laptop(cluster, f"ray rsync-up {CLUSTER}")
    expect = f"{SUBMIT} stale.yaml --expect $(python -m orchestrator digest stale.yaml)"

    on_laptop(cluster, "echo '# another thought' >> stale.yaml")
    experiment = on_laptop(cluster, expect, check=False)
    on_laptop(cluster, "echo '# another thought' >> orchestrator/api.py")
    code = on_laptop(cluster, expect, check=False)

    assert experiment.returncode != 0
    assert "stale.yaml: the experiment is not what was expected (" in experiment.stdout
    assert code.returncode != 0
    assert "stale.yaml: orchestrator's code is not what was expected (" in code.stdout
    assert not (cluster.shared / "results/stale").exists()
    # What `run --cluster` has copied is up to date.
    on_laptop(cluster, f"{RUN} --cluster {CLUSTER} --dry-run stale.yaml")


def test_mistakes_are_told_in_a_line(cluster: Hosts) -> None:
    """No such file, no cluster's file, a cluster that is not up, a key that is not known."""
    write_spec(cluster, "wrong", SMALL)
    on_laptop(
        cluster,
        f"sed 's/cluster_name: lab/cluster_name: other/' {CLUSTER} > other.yaml\n"
        "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/unknown <<< y\n"
        f"sed 's/id_ed25519/unknown/' {CLUSTER} > unknown.yaml\n"
        # Ray keeps a connection open for ten seconds, whatever key is asked for meanwhile.
        "rm -rf /tmp/ray_ssh_*",
    )

    for file, status, line in (
        ("missing.yaml", 2, "missing.yaml: no such file"),
        ("wrong.yaml", 2, "wrong.yaml: is no cluster's file: it has no cluster_name"),
        ("other.yaml", 3, "other.yaml: the cluster is not up; to start it: ray up other.yaml"),
        (
            "unknown.yaml",
            3,
            "unknown.yaml: no SSH to the head (root@10.77.6.1: Permission deni",
        ),
    ):
        said = on_laptop(cluster, f"{RUN} --cluster {file} wrong.yaml", check=False)
        assert said.returncode == status, said.stdout
        assert said.stdout.splitlines()[-1].startswith(line)
        assert "Traceback" not in said.stdout


def test_workers_run_the_drivers_code(cluster: Hosts) -> None:
    """What was last copied to the head runs on workers too, which have what `ray up` left."""
    write_spec(cluster, "fresh", f"{SMALL}seed: 6\n")
    mark = "import socket; open(f'/mnt/shared/marked-{socket.gethostname()}', 'w').close()"
    write(cluster, "laptop", f"{PROJECT}/mark.py", f"\n{mark}\n")
    on_laptop(cluster, "cat mark.py >> orchestrator/training/loop.py")

    on_laptop(cluster, f"{RUN} --cluster {CLUSTER} fresh.yaml")

    marked = sorted(path.name for path in Path(cluster.shared).glob("marked-*"))
    assert marked == ["marked-head", "marked-worker"]
    receipt = cluster.shared / "results/fresh/1/label_smoothing=0,seed=6/receipt.json"
    assert json.loads(receipt.read_text())["attempts"]
