"""Two and three worker processes over gloo: one network, one batch, one answer."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Assignment
from orchestrator.training.loop import train
from tests import plans

SCRIPT = Path(__file__).with_name("worker_process.py")

Pair = list[dict[str, Any]]

THAWED: dict[str, Any] = {
    "data": {"batch_size": 27, "drop_last": True, "mixup": 0.4, "cutmix": 1.0},
    "model": {"sync_batch_norm": True},
    "optimizer": {"lr": 0.05},
    "schedule": {"name": "constant"},
    "fine_tune": {"linear_probe_epochs": 1},
    "training": {"epochs": 3, "accumulate": 2, "clip_norm": 1.0, "ema": 0.5},
}
"""The head alone, then everything; mixed images, shared statistics, parts, an average."""
SYNCED: dict[str, Any] = {**THAWED, "training": {"epochs": 3, "clip_norm": 1.0, "ema": 0.5}}
"""The same in one part, so that one worker's statistics are those of both."""

OFTEN: dict[str, Any] = {"checkpoint": plans.checkpoint_plan(every_steps=3, every_epochs=0)}

ELASTIC: dict[str, Any] = {**OFTEN, "elastic": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both workers write."""
    return tmp_path_factory.mktemp("two-workers")


@pytest.fixture(scope="module")
def pair(
    folder: Path,
    make_assignment_in: Callable[..., Assignment],
    child_environment: Mapping[str, str],
) -> Pair:
    """What each of two workers found; they are started once.

    80 images in batches of 27 leave the workers unequal shares in every step.
    """
    data = {"batch_size": 27, "drop_last": True}
    make = partial(make_assignment_in, world_size=2)
    return run_workers(
        folder,
        {
            "whole": make(folder / "whole", data=data),
            "stopped": make(folder / "stopped", data=data, training={"epochs": 4}, place=OFTEN),
            "thawed": make(folder / "thawed", **THAWED),
            "synced": make(folder / "synced", **SYNCED),
            "resumed": make(folder / "on", place=OFTEN, **SYNCED),
            "halved": make(folder / "elastic", place=ELASTIC, **SYNCED),
        },
        environment=child_environment,
    )


def run_workers(
    folder: Path,
    assignments: Mapping[str, Assignment],
    *,
    environment: Mapping[str, str],
    world_size: int = 2,
) -> list[dict[str, Any]]:
    """Train these in processes of their own; what each of them found."""
    texts = {name: assignment.to_json() for name, assignment in assignments.items()}
    (folder / "assignments.json").write_text(json.dumps(texts))
    workers = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world_size), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for rank in range(world_size)
    ]
    said = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * world_size, "\n".join(said)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world_size)]


def test_two_workers_train_one_network(pair: Pair) -> None:
    """Weights and running statistics agree to the bit; the first worker alone reports."""
    first, second = (found["whole"] for found in pair)

    assert first["status"] == second["status"] == "finished"
    assert first["weights"] == second["weights"] != ""
    assert [epoch for epoch, _ in first["reports"]] == [1, 2]
    assert second["reports"] == []


def test_two_workers_score_each_image_once(pair: Pair, folder: Path) -> None:
    """700 images, none twice, and the accuracy that was reported is theirs."""
    with np.load(folder / "whole" / "run" / "predictions.npz") as stored:
        ids, labels, logits = stored["ids"], stored["labels"], stored["logits"]

    assert len(ids) == 700
    assert (np.diff(ids) > 0).all()
    accuracy = (logits.argmax(axis=1) == labels).mean()
    reported = pair[0]["whole"]["reports"][-1][1]["val/accuracy"]
    assert reported == pytest.approx(accuracy, abs=1e-12)


def test_a_stop_verdict_reaches_both_workers(pair: Pair) -> None:
    """Only the first asks, and neither waits for the other in a second epoch."""
    first, second = (found["stopped"] for found in pair)

    assert [first["status"], second["status"]] == ["stopped", "stopped"]
    assert len(first["reports"]) == 1


def test_unequal_shards_step_as_the_whole_batch(pair: Pair) -> None:
    """Three images here and two there move the weights as all five do in one process."""
    first, second = (found["shared"] for found in pair)
    alone = pair[0]["alone"]

    for found in (first, second):
        assert np.allclose(found["weight"], alone["weight"], rtol=1e-13, atol=1e-14)
        assert np.allclose(found["bias"], alone["bias"], rtol=1e-13, atol=1e-14)
    assert first["weight"] == second["weight"]
    means = np.mean([first["losses"], second["losses"]], axis=0)
    assert np.allclose(means, alone["losses"], rtol=1e-13)


def test_workers_agree_after_what_learns_has_changed(pair: Pair) -> None:
    """The wrapper is made anew in the second epoch; both end with the same weights."""
    first, second = (found["thawed"] for found in pair)

    assert first["weights"] == second["weights"] != ""
    assert [epoch for epoch, _ in first["reports"]] == [1, 2, 3]


def test_two_workers_compute_what_one_does(
    pair: Pair, make_assignment: Callable[..., Assignment], worker: Any
) -> None:
    """Every epoch's loss and scores are those of one worker, but for the order of sums.

    Images are mixed with partners of the other's share and normalised by the statistics of
    both; gradients are clipped and weights averaged.
    """
    result = train(make_assignment(**SYNCED), worker.context)

    reports = pair[0]["synced"]["reports"]
    for (_, both), (_, alone) in zip(reports, worker.reports, strict=True):
        assert both == pytest.approx(alone, rel=1e-4)
    assert result.status == "finished"


def test_two_workers_go_on_where_they_were(pair: Pair) -> None:
    """From the middle of an epoch: mixed images, an average, and each worker's own generators.

    Weights and reports are those of a training that was never interrupted.
    """
    for found in pair:
        assert found["resumed"]["weights"] == found["synced"]["weights"]
    first, undisturbed = pair[0]["resumed"], pair[0]["synced"]
    assert [*first["first"][:1], *first["reports"]] == undisturbed["reports"]
    assert (len(first["note"]["history"]), first["note"]["steps"]) == (1, 1)


def test_an_elastic_run_loses_a_worker_and_has_it_again(
    pair: Pair,
    folder: Path,
    tmp_path: Path,
    make_assignment_in: Callable[..., Assignment],
    child_environment: Mapping[str, str],
    worker: Any,
) -> None:
    """Both times in the middle of an epoch; every epoch is as undisturbed, but for the sums."""
    assignment = make_assignment_in(folder / "elastic", world_size=2, place=ELASTIC, **SYNCED)
    worker.steps_until_stop = 1

    result = train(assignment, worker.context)
    grown = run_workers(tmp_path, {"grown": assignment}, environment=child_environment)

    assert (result.status, worker.reports) == ("stopped", [])
    assert [note["steps"] for note in worker.notes] == [1]
    assert grown[0]["grown"]["note"]["steps"] == 2
    assert grown[0]["grown"]["weights"] == grown[1]["grown"]["weights"] != ""
    reports = [*pair[0]["halved"]["reports"][:1], *grown[0]["grown"]["reports"]]
    for (_, found), (_, expected) in zip(reports, pair[0]["synced"]["reports"], strict=True):
        assert found == pytest.approx(expected, rel=1e-4)


def test_a_run_that_is_not_elastic_keeps_its_number_of_workers(
    pair: Pair, folder: Path, make_assignment_in: Callable[..., Assignment], worker: Any
) -> None:
    """Another number would be other numbers; nothing is trained."""
    assert pair[0]["stopped"]["status"] == "stopped"
    assignment = make_assignment_in(folder / "stopped", world_size=2, place=OFTEN)

    with pytest.raises(TrainingError, match=r"was written by 2 workers \(got 1\); set"):
        train(assignment, worker.context)


def test_three_workers_go_on_where_they_were(
    make_assignment_in: Callable[..., Assignment],
    child_environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """The sum of three numbers depends on their order: a restart must not choose another."""
    make = partial(make_assignment_in, world_size=3, **SYNCED)

    found = run_workers(
        tmp_path,
        {
            "synced": make(tmp_path / "synced"),
            "resumed": make(tmp_path / "on", place=OFTEN),
        },
        environment=child_environment,
        world_size=3,
    )

    weights = {each[name]["weights"] for each in found for name in ("synced", "resumed")}
    assert len(weights) == 1
    assert found[0]["resumed"]["note"]["steps"] > 0
