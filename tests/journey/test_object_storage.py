"""A search whose storage is a bucket: what is lost with a machine, and what is not."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from orchestrator.tracking.object_store import ObjectStore
from tests.journey.conftest import (
    Orchestrate,
    Start,
    digests,
    processes_of,
    wait_for,
    wait_on,
)

CHANGES = ("training.epochs=80", "search.seeds=1", "checkpoint.every_epochs=2")


@pytest.fixture
def environment(
    environment: dict[str, str], bucket: str, s3: dict[str, str], tmp_path: Path
) -> dict[str, str]:
    """Of a user who has a bucket, and a disk of this machine to work on."""
    own = {"ORCHESTRATOR_STORAGE": f"{bucket}/lab", "ORCHESTRATOR_WORK": str(tmp_path / "work")}
    return {**environment, **s3, **own}


def test_what_a_lost_machine_has_not_lost(
    orchestrate: Orchestrate, start: Start, small_spec: str, bucket: str, tmp_path: Path
) -> None:
    """Killed in the middle, its disk gone, `resume` ends with the bits of one undisturbed."""
    whole = orchestrate("run", small_spec, *CHANGES, ORCHESTRATOR_STORAGE=f"{bucket}/other")
    assert whole.status == 0, whole.err
    left = ObjectStore(f"{bucket}/other").list_files("small/1")
    run = "small/1/label_smoothing=0.4,seed=0"
    for name in ("last.safetensors", "classes.json", "scores.json", "receipt.json"):
        assert f"{run}/{name}" in left
    assert "small/1/response.png" in left
    # A one-cycle's last checkpoint is of no use once its run has finished.
    assert not [name for name in left if "checkpoints" in name]

    store = ObjectStore(f"{bucket}/lab")
    process = start("run", small_spec, *CHANGES)
    wait_on(process, lambda: sum("/step-" in name for name in store.list_files("small")) >= 2)
    wait_on(process, lambda: bool(store.find_sizes(["small/1/journal.jsonl"])))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: processes_of(str(tmp_path / "work")) == [])
    shutil.rmtree(tmp_path / "work")
    resumed = orchestrate("resume", "small")

    assert resumed.status == 0, resumed.err
    journal = store.read_text("small/1/journal.jsonl")
    assert '"note": "resumed"' in journal
    undisturbed = ObjectStore(f"{bucket}/other").read_text("small/1/journal.jsonl")
    assert digests(journal) == digests(undisturbed)
    assert len(digests(journal)) == 2
