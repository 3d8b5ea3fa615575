"""Elastic runs: they go on when a machine is lost, and have all workers when one comes."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journey.conftest import (
    Orchestrate,
    Start,
    answer_of,
    digests,
    wait_for,
    wait_for_text,
)
from tests.journey.nodes import ask, three_nodes, write_paced

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SPEC = """\
name: elastic
data: {dataset: digits, train_size: 200}
model: {architecture: small_cnn, sync_batch_norm: true}
loss: {name: "pace:paced_loss"}
training: {epochs: 250}
search: {seeds: 1}
checkpoint: {every_steps: 7}
resources: {num_workers: 2, min_workers: 1, cpus_per_worker: 2, gpus_per_worker: 0}
"""


@pytest.fixture
def machines() -> "Iterator[subprocess.Popen[str]]":
    """A head without CPUs, and two nodes with room for a worker each."""
    with three_nodes() as process:
        yield process


def lane_sizes(journal: Path) -> list[int]:
    """How many workers the lane had, each time that it came up."""
    entries = map(json.loads, journal.read_text().splitlines())
    return [entry["facts"]["world_size"] for entry in entries if entry["kind"] == "lane"]


def test_a_run_goes_on_with_fewer_workers_and_grows_back(
    start: Start,
    orchestrate: Orchestrate,
    tmp_path: Path,
    storage: Path,
    machines: "subprocess.Popen[str]",
) -> None:
    """Two workers, one, two again; plan, receipt and answer say it, and none takes it over."""
    joined = {"RAY_ADDRESS": answer_of(machines), "RAY_AUTH_MODE": "disabled"}
    write_paced(tmp_path, SPEC)
    process = start("run", "paced.yaml", **joined)
    journal = storage / "elastic" / "1" / "journal.jsonl"
    wait_for_text(journal, '"epoch": 20,')

    assert ask(machines, "kill a") == "kill a"
    wait_for(lambda: lane_sizes(journal) == [2, 1])
    shown = orchestrate("plan", "paced.yaml", "name=other", **joined)
    assert ask(machines, "add c") == "add c"
    out, err = process.communicate(timeout=250)

    assert process.returncode == 0, err + out
    assert "1 of 2 workers" in shown.out, shown.err
    assert lane_sizes(journal) == [2, 1, 2]
    assert " is gone; starting its lanes again" in out
    assert "there is room for 2 of 2 workers again" in out
    assert "1 of 1 runs trained with 1 of 2 workers at times" in " ".join(out.split())
    receipt = json.loads((storage / "elastic" / "1" / "seed=0" / "receipt.json").read_text())
    assert [attempt["world_size"] for attempt in receipt["attempts"]] == [2, 1, 2]
    assert receipt["interruptions"] == {"preemptions": 1, "deaths": 0}
    check_records(orchestrate, joined)


def check_records(orchestrate: Orchestrate, joined: dict[str, str]) -> None:
    """What was trained with fewer workers is not repeated, and not reused."""
    again = orchestrate("rerun", "elastic/seed=0", **joined)
    assert (again.status, again.out) == (2, "")
    assert "cannot come out again; train its experiment once more with run --fresh" in again.err
    planned = orchestrate("plan", "paced.yaml", "name=other", **joined)
    assert "other#1" in planned.out
    assert "done" not in planned.out


def test_a_notice_moves_a_run_before_its_machine_goes(
    start: Start, orchestrate: Orchestrate, tmp_path: Path, storage: Path
) -> None:
    """It writes a checkpoint and goes on elsewhere; a preemption is no failure.

    The weights are those of an undisturbed run on a Ray of our own.
    """
    (tmp_path / "notices").mkdir()
    spec = SPEC.replace("num_workers: 2, min_workers: 1, ", "")
    write_paced(tmp_path, spec)
    with three_nodes(NOTICES=str(tmp_path / "notices")) as machines:
        joined = {"RAY_ADDRESS": answer_of(machines), "RAY_AUTH_MODE": "disabled"}
        process = start("run", "paced.yaml", **joined)
        journal = storage / "elastic" / "1" / "journal.jsonl"
        wait_for_text(journal, '"epoch": 20,')
        Path(find_notice(journal)).touch()
        out, err = process.communicate(timeout=250)

    assert process.returncode == 0, err + out
    assert " will be taken away; starting its lanes again" in out
    assert "preempted once (its machine will be taken away)" in " ".join(out.split())
    receipt = json.loads((storage / "elastic" / "1" / "seed=0" / "receipt.json").read_text())
    assert receipt["interruptions"] == {"preemptions": 1, "deaths": 0}
    (resumed,) = (note for note in receipt["notes"] if note["note"] == "resumed")
    assert resumed["checkpoint"]
    alone = orchestrate("run", "paced.yaml", "name=quiet", "--fresh")
    assert alone.status == 0, alone.err
    quiet = (storage / "quiet" / "1" / "journal.jsonl").read_text()
    assert list(digests(journal.read_text()).values()) == list(digests(quiet).values())


def find_notice(journal: Path) -> str:
    """Where the machine on which a run is trained looks for its notice."""
    lane = next(line for line in journal.read_text().splitlines() if '"kind": "lane"' in line)
    process = json.loads(lane)["facts"]["pid"]
    variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(text.split("=", 1) for text in variables if text)["ORCHESTRATOR_NOTICE"]
