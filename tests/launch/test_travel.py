"""A run between the disks of two nodes and an object store."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.launch.travel import Luggage, move_plan
from orchestrator.planning.run_plan import Assignment, CheckpointPlan, RunPlan
from orchestrator.tracking.mirror import WHOLE
from orchestrator.tracking.object_store import ObjectStore
from orchestrator.training.context import Copies, Verdict, WorkerContext
from orchestrator.training.loop import train
from orchestrator.training.result import Result

CHECKPOINTS = CheckpointPlan(
    every_epochs=1, every_steps=None, keep_last=2, keep_best=0, keep_final=False
)


@pytest.fixture
def assignment(run_plan: RunPlan, tmp_path: Path) -> Assignment:
    """Three epochs, with a checkpoint after each, whose storage is a store."""
    training = replace(run_plan.numbers.training, epochs=3)
    plan = replace(
        run_plan,
        numbers=replace(run_plan.numbers, training=training),
        place=replace(run_plan.place, checkpoint=CHECKPOINTS),
    )
    return Assignment(plan=plan, attempt=1, store=f"file://{tmp_path}/store")


def train_on(luggage: Luggage, *, stop_at: int | None = None) -> tuple[Result, list[Any]]:
    """Train what a node was given; the result, and what was noted."""
    notes: list[Any] = []

    def report(epoch: int, metrics: Mapping[str, float]) -> Verdict:  # noqa: ARG001
        return "stop" if epoch == stop_at else "continue"

    context = WorkerContext(
        rank=0, world_size=1, device=torch.device("cpu"), report=report,
        note=notes.append, copies=luggage.copies,
    )  # fmt: skip
    luggage.unpack(rank=0)
    return train(luggage.assignment, context), notes


def test_a_run_goes_on_where_it_has_never_been(
    assignment: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun on one node, ended on another with a disk of its own: the same bits."""
    undisturbed, _ = train_on(Luggage(replace(assignment, store="")))
    store = ObjectStore(assignment.store)
    run = assignment.plan.run_id
    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "one"))
    first = Luggage(assignment)
    stopped, _ = train_on(first, stop_at=2)
    first.send(stopped)
    assert stopped.status == "stopped"
    assert [name[: len(run) + 26] for name in sorted(store.list_files())] == [
        f"{run}/checkpoints/step-0000000{step}" for step in (2, 4)
    ]

    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "two"))
    luggage = Luggage(assignment)
    result, notes = train_on(luggage)
    luggage.send(result)

    assert result.weights_sha256 == undisturbed.weights_sha256
    assert notes[0]["note"] == "resumed"
    assert f"{tmp_path}/two/" in notes[0]["checkpoint"]
    assert result.spent
    result.remove_spent()
    luggage.drop(result.spent)
    left = [name.removeprefix(f"{run}/") for name in store.list_files()]
    assert sorted(left) == [
        WHOLE, "classes.json", "last.safetensors", "predictions.npz", "scores.json",
        "summary.txt",
    ]  # fmt: skip


def test_a_run_of_a_folder_takes_nothing_along(assignment: Assignment) -> None:
    """Where every node sees the storage, nothing is copied and no path changes."""
    local = replace(assignment, store="")
    luggage = Luggage(local)

    assert luggage.assignment is local
    assert luggage.copies is None
    luggage.unpack(rank=0)
    luggage.send(Result(status="finished", metrics={}, weights_sha256=""))
    luggage.drop(())


def test_own_code_and_weights_come_along(
    assignment: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where the driver has put them; what lies outside the storage stays where it is."""
    root = Path(assignment.plan.place.folder).parents[2]
    store = ObjectStore(assignment.store)
    store.put_text("demo/1/source/package/net.py", "WIDTH = 3\n")
    store.put_text("other/1/seed=0/last.safetensors", "weights")
    place = replace(
        assignment.plan.place,
        sources=str(root / "demo/1/source"),
        weights=str(root / "other/1/seed=0/last.safetensors"),
        data_root="/data/images",
    )
    plan = replace(assignment.plan, place=place)
    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "node"))

    luggage = Luggage(replace(assignment, plan=plan))
    luggage.unpack(rank=1)

    here = luggage.assignment.plan.place
    assert here.data_root == "/data/images"
    assert Path(here.sources, "package", "net.py").read_text() == "WIDTH = 3\n"
    assert Path(here.weights).read_text() == "weights"
    assert here.weights.startswith(f"{tmp_path}/node/{root.name}/other/1/")


def test_only_the_storage_moves(assignment: Assignment) -> None:
    """Paths that are not in it are the same on every node."""
    root = Path(assignment.plan.place.folder).parents[2]
    place = replace(assignment.plan.place, weights="/models/net.safetensors")

    moved = move_plan(replace(assignment.plan, place=place), root, Path("/disk")).place

    assert moved.folder == f"/disk/{assignment.plan.run_id}"
    assert moved.weights == "/models/net.safetensors"
    assert moved.sources == moved.extends == ""


def test_a_store_that_is_gone_fails_the_run_in_a_line(
    assignment: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint stays on the disk, and the line says where."""
    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "node"))
    luggage = Luggage(assignment)
    keep = luggage.copies.keep if luggage.copies else None
    assert keep is not None
    (tmp_path / "store").write_text("no folder")

    with pytest.raises(TrainingError, match=r"^storage_path: cannot write .*; it is kept in /"):
        train_on(luggage)

    assert list((tmp_path / "node").rglob("step-*.pt"))


def test_what_was_raised_can_be_read_from_everywhere(
    assignment: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of a traceback is sent, and named by its address."""
    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "node"))
    luggage = Luggage(assignment)
    file = Path(luggage.assignment.plan.place.folder) / "error.txt"
    file.parent.mkdir(parents=True)
    file.write_text("Traceback")
    ending = {"status": "failed", "error": "", "traceback": str(file)}

    luggage.send_traceback(ending)

    assert ending["traceback"] == f"{assignment.store}/{assignment.plan.run_id}/error.txt"
    assert isinstance(luggage.copies, Copies)
    assert ObjectStore(assignment.store).read_text(f"{assignment.plan.run_id}/error.txt")
