"""A search whose storage is a bucket: what is lost with a machine, and what is not."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.tracking.object_store import ObjectStore
from tests.journey.conftest import (
    RAY,
    Orchestrate,
    Start,
    answer_of,
    digests,
    interrupt,
    running,
    wait_on,
)

CHANGES = ("training.epochs=40", "search.seeds=1", "checkpoint.every_epochs=2")
RUN = "small/1/label_smoothing=0.4,seed=0"
NODES = """
import os, sys, ray
from ray.cluster_utils import Cluster

cluster = Cluster()
cluster.add_node(num_cpus=0)
for number, name in enumerate("ab", start=2):
    os.environ["ORCHESTRATOR_WORK"] = f"{sys.argv[1]}/{name}"
    # Addresses of their own, so that a driver on this machine belongs to the head.
    cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number}")
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def environment(
    environment: dict[str, str], bucket: str, s3: dict[str, str], tmp_path: Path
) -> dict[str, str]:
    """Of a user who has a bucket, and a disk of this machine to work on."""
    own = {"ORCHESTRATOR_STORAGE": f"{bucket}/lab", "ORCHESTRATOR_WORK": str(tmp_path / "work")}
    return {**environment, **s3, **own}


def wait_for_checkpoints(process: "subprocess.Popen[str]", store: ObjectStore) -> None:
    """Wait until a command has checkpoints and a journal in its store."""
    wait_on(process, lambda: sum("/step-" in name for name in store.list_files("small")) >= 2)
    wait_on(process, lambda: '"kind": "search"' in _journal(store))


def _journal(store: ObjectStore) -> str:
    name = "small/1/journal.jsonl"
    return store.read_text(name) if store.find_sizes([name]) else ""


def test_what_a_lost_machine_has_not_lost(
    orchestrate: Orchestrate, start: Start, small_spec: str, bucket: str, tmp_path: Path
) -> None:
    """Killed in the middle, `resume` elsewhere ends with the bits of one undisturbed."""
    store = ObjectStore(f"{bucket}/lab")
    process = start("run", small_spec, *CHANGES)
    wait_for_checkpoints(process, store)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # As on a new machine, while the killed one's workers may still train on for a while.
    resumed = orchestrate("resume", "small", ORCHESTRATOR_WORK=str(tmp_path / "new"))

    assert resumed.status == 0, resumed.err
    assert f"results   {bucket}/lab/small/1\n" in resumed.out
    assert '"note": "resumed"' in _journal(store)
    left = store.list_files("small/1")
    for name in ("last.safetensors", "classes.json", "scores.json", "receipt.json"):
        assert f"{RUN}/{name}" in left
    assert "small/1/response.png" in left
    # The last checkpoint of a one-cycle is of no use once its run has finished.
    assert not [name for name in left if "/checkpoints/" in name]

    local = {"ORCHESTRATOR_STORAGE": str(tmp_path / "local")}
    undisturbed = orchestrate(
        "run", small_spec, *CHANGES, "--in-process", "--run", "2", **local
    )
    assert undisturbed.status == 0, undisturbed.err
    expected = digests((tmp_path / "local/small/1/journal.jsonl").read_text())
    assert expected.items() <= digests(_journal(store)).items()
    assert list(expected) == [RUN]

    shutil.rmtree(tmp_path / "work", ignore_errors=True)
    again = orchestrate("run", small_spec, *CHANGES)
    assert again.status == 0, again.err
    assert "nothing to train" in again.out
    scored = orchestrate("evaluate", "small/label_smoothing=0.4")
    assert "as recorded, to the last digit" in scored.out, scored.err


def test_a_wrong_bucket_is_refused_before_anything_is_there(
    orchestrate: Orchestrate, small_spec: str, bucket: str, tmp_path: Path
) -> None:
    """One line and exit status 3, and no folder for a search."""
    for command in ("plan", "run"):
        said = orchestrate(command, small_spec, f"storage_path={bucket}-none/lab")

        assert said.status == 3
        assert said.err.startswith(
            f"storage_path: cannot look into {bucket}-none/lab (there is "
        )
        assert said.err.count("\n") == 1
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_node_that_cannot_reach_the_bucket_is_named(
    orchestrate: Orchestrate,
    small_spec: str,
    bucket: str,
    s3: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What its Ray was started with counts there, whatever the command has; nothing begins."""
    away = {**s3, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "RAY_AUTH_MODE": "disabled"}
    with running(RAY, str(tmp_path_factory.getbasetemp() / "o"), **away) as process:
        joined = {"RAY_ADDRESS": answer_of(process), "RAY_AUTH_MODE": "disabled"}
        said = orchestrate("run", small_spec, **joined)

    assert said.status == 3, said.err
    assert f": storage_path: cannot look into {bucket}/lab (NETWORK_CONNECTION: " in said.err
    assert said.err.count("\n") == 1
    assert ObjectStore(f"{bucket}/lab").list_files("small") == {}


@pytest.fixture
def two_nodes(tmp_path: Path, s3: dict[str, str]) -> Iterator[dict[str, str]]:
    """A Ray of two nodes that share no folder to work in, as a command must know it."""
    known = {"RAY_AUTH_MODE": "disabled"}
    with running(NODES, str(tmp_path), **known, **s3) as process:
        address = answer_of(process)
        assert address
        yield {**known, "RAY_ADDRESS": address}


@pytest.mark.slow
def test_nodes_share_a_bucket_alone(
    orchestrate: Orchestrate,
    start: Start,
    small_spec: str,
    bucket: str,
    tmp_path: Path,
    two_nodes: dict[str, str],
) -> None:
    """Two workers on two nodes, stopped, their disks gone: they go on to the same bits."""
    spread = "resources={num_workers: 2, placement: spread}"
    changes = (*CHANGES, "loss.label_smoothing=0.1", spread)
    store, other = ObjectStore(f"{bucket}/lab"), ObjectStore(f"{bucket}/other")
    whole = {"ORCHESTRATOR_STORAGE": f"{bucket}/other", **two_nodes}
    done = orchestrate("run", small_spec, *changes, **whole)
    assert done.status == 0, done.err
    # Rank 0 writes; its node is one of the two, and not this command's.
    assert len(list(tmp_path.rglob("last.safetensors"))) == 1
    assert not list((tmp_path / "work").rglob("last.safetensors"))

    process = start("run", small_spec, *changes, **two_nodes)
    wait_for_checkpoints(process, store)
    interrupt(process)
    assert process.wait(100) == 130
    for name in ("a", "b", "work"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    resumed = orchestrate("resume", "small", **two_nodes)

    assert resumed.status == 0, resumed.err
    assert '"note": "resumed"' in _journal(store)
    assert digests(_journal(store)) == digests(_journal(other))
    assert len(digests(_journal(store))) == 1
    # Rank 1 went on from what came to its own node.
    assert list(tmp_path.rglob("step-*.pt"))
