"""The same spec again, a little more of it, what was interrupted: nothing is trained twice."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.journey.conftest import (
    Orchestrate,
    Start,
    digests,
    interrupt,
    mlflow_runs,
    processes_of,
    wait_for,
    wait_for_text,
)


def journal_of(storage: Path, search: str) -> str:
    """The journal of a search, `name/number`, as it lies on the disk."""
    return (storage / search / "journal.jsonl").read_text()


def entries(storage: Path, search: str, kind: str) -> list[dict[str, Any]]:
    """The entries of one kind in a search's journal."""
    lines = map(json.loads, journal_of(storage, search).splitlines())
    return [entry for entry in lines if entry["kind"] == kind]


def by_run(text: str) -> dict[str, str]:
    """Name of each run to the digest of its weights."""
    return {run.split("/")[2]: digest for run, digest in digests(text).items()}


def metric_counts(storage: Path) -> dict[str, int]:
    """Name of each of MLflow's runs to how many values of the accuracy's course it has."""
    with sqlite3.connect(storage / "mlflow.db") as connection:
        rows = connection.execute(
            "SELECT runs.name, count(*) FROM runs JOIN metrics USING (run_uuid) "
            "WHERE key = 'val/accuracy' GROUP BY run_uuid"
        ).fetchall()
    return dict(rows)


def test_a_search_is_answered_extended_and_repeated(
    orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """The same spec is answered at once; one more seed trains one run per setting.

    What was taken over has the weights that training it anew gives, and evaluate finds them.
    """
    first = orchestrate("run", small_spec)
    assert first.status == 0, first.err
    before = journal_of(storage, "small/1")

    again = orchestrate("run", small_spec)
    assert (again.status, again.err) == (0, "")
    assert "4 of them done (4 in small#1); none to train" in again.out
    assert first.out.split("small#1: val/accuracy")[1].split("picture")[0] in again.out
    assert journal_of(storage, "small/1") == before
    assert not (storage / "small" / "2").exists()

    more = orchestrate("run", small_spec, "search.seeds=3")
    assert more.status == 0, more.err
    assert "6, 4 of them done (4 in small#1); 2 to train" in more.out
    started = {entry["run"] for entry in entries(storage, "small/2", "start")}
    assert started == {f"small/2/label_smoothing={x},seed=2" for x in ("0", "0.4")}
    planned = orchestrate("plan", small_spec, "search.seeds=3", "--fresh")
    assert planned.out.startswith("small#3")
    assert "runs       6, 2 at a time" in planned.out
    here = orchestrate("run", small_spec, "search.seeds=3", "--in-process", "--run", "4")
    assert here.status == 0, here.err
    taken, trained = (by_run(journal_of(storage, f"small/{n}")) for n in (2, 3))
    assert trained.items() <= taken.items()
    assert list(trained) == ["label_smoothing=0.4,seed=0"]
    evaluated = orchestrate("evaluate", "small#2/label_smoothing=0,seed=0")
    assert "to the last digit" in evaluated.out, evaluated.err + evaluated.out
    assert set(mlflow_runs(storage).values()) == {"FINISHED"}


def test_ctrl_c_and_the_same_command_go_on(
    start: Start, orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """Status 130, what was done is kept, the rest is marked; then the same numbers, once each.

    The same MLflow runs go on; none is there twice, and none of their numbers.
    """
    changes = ["training.epochs=60", "checkpoint.every_steps=7"]
    process = start("run", small_spec, *changes)
    journal = storage / "small" / "1" / "journal.jsonl"
    wait_for_text(journal, '"status": "finished"')
    wait_for(lambda: '"epoch": 10' in journal.read_text().partition('"status": "finished"')[2])
    interrupt(process)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert processes_of(str(storage)) == []
    assert "the search was stopped: " in out
    assert "resume small#1" in out
    assert set(mlflow_runs(storage).values()) == {"FINISHED", "KILLED"}
    assert "the search was stopped" in orchestrate("compare", "small").out

    resumed = orchestrate("resume", "small")
    assert resumed.status == 0, resumed.err
    assert "goes on where it was interrupted" in " ".join(resumed.out.split())

    notes = entries(storage, "small/1", "note")
    assert {note["note"] for note in notes} == {"resumed"}
    # The one that was waited for; its neighbour may have begun later.
    assert max(len(note["history"]) for note in notes) >= 8
    assert set(metric_counts(storage).values()) == {60}
    assert sorted(mlflow_runs(storage).values()) == ["FINISHED"] * 5
    resumed_run = notes[0]["run"]
    receipt = json.loads((storage / resumed_run / "receipt.json").read_text())
    assert [attempt["world_size"] for attempt in receipt["attempts"]] == [1, 1]
    assert receipt["numbers"]["threads"] == 1
    checked = orchestrate("rerun", resumed_run, "--check")
    assert checked.status == 0, checked.err + checked.out
    assert "the same: weights (SHA-256 " in checked.out
    assert (storage / "small.rerun" / "1").is_dir()


@pytest.mark.slow
def test_more_epochs_go_on_where_the_schedule_allows(
    orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """Under constant rates from the last epoch, as a new, linked run; one cycle begins anew."""
    one = ["loss.label_smoothing=0.4", "search.seeds=1"]
    constant = [*one, "name=const", "schedule.name=constant"]
    assert orchestrate("run", small_spec, *constant).status == 0

    longer = orchestrate("run", small_spec, *constant, "training.epochs=5")

    assert longer.status == 0, longer.err
    assert "1 run goes on from one of fewer epochs: 2 epochs to train" in longer.out
    assert [e["epoch"] for e in entries(storage, "const/2", "epoch")] == [4, 5]
    rows = (storage / "const" / "2" / "seed=0" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4", "5"]
    with sqlite3.connect(storage / "mlflow.db") as connection:
        tags = connection.execute(
            "SELECT value FROM tags WHERE key = 'orchestrator.extends'"
        ).fetchall()
    assert tags == [("const/1/seed=0",)]
    cyclic = [*one, "name=const", "training.epochs=3"]
    assert orchestrate("run", small_spec, *cyclic, "--in-process").status == 0
    planned = orchestrate("plan", small_spec, *one, "name=const", "training.epochs=5")
    assert "under one_cycle every rate depends on the number" in " ".join(planned.out.split())


def test_a_changed_program_does_not_go_on(
    orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """What is left would be other numbers: resume says what has changed, run begins anew."""
    orchestrate("run", small_spec, "search.seeds=1", "--in-process")
    path = storage / "small" / "1" / "journal.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    (run,) = first["plan"]["runs"]
    run["fingerprint"] = "0" * 64
    first["plan"]["environment"]["torch"] = "2.0.0"
    path.write_text(json.dumps(first) + "\n")

    refused = orchestrate("resume", "small")

    assert refused.status == 2
    assert "what is left would be other numbers (torch was 2.0.0, is " in refused.err
    planned = orchestrate("plan", small_spec, "search.seeds=1")
    assert "small/2" in planned.out
