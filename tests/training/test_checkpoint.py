"""A training that is taken up again ends as if it had never stopped, to the last bit."""

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.errors import NonFiniteLossError, TrainingError
from orchestrator.planning.run_plan import Assignment
from orchestrator.planning.section_plans import EarlyStoppingPlan, StepPlan
from orchestrator.specs.names import OPTIMIZERS, WITH_MOMENTUM
from orchestrator.training.checkpoint_file import (
    find_checkpoint,
    list_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from orchestrator.training.loop import train
from orchestrator.training.result import Result
from tests import plans
from tests.device import CUDA

MakeAssignment = Callable[..., Assignment]
NewWorker = Callable[..., Any]

OWN_NETWORK = """
import random
import numpy as np
import torch
from torch import nn

class Draws(nn.Module):
    '''Draws from every generator that a process has.'''

    def __init__(self, num_classes):
        super().__init__()
        layers = nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()
        self.body = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(32, num_classes)

    def forward(self, images):
        hidden = self.drop(self.body(images))
        if self.training:
            hidden = hidden * (0.9 + 0.2 * random.random()) + 0.1 * np.random.normal()
        return self.head(hidden)
"""
DRAWING = {"model": {"architecture": "drawing:Draws"}, "place": {"sources": "."}}

TECHNIQUES: dict[str, dict[str, Any]] = {
    "one cycle": {},
    "every generator": DRAWING,
    "average and parts": {
        "optimizer": {"name": "adamw", "arguments": {}},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 3, "ema": 0.9, "clip_norm": 1.0, "accumulate": 2},
    },
    "mixed": {
        "data": {
            "mixup": 0.4,
            "cutmix": 1.0,
            "train_transforms": (StepPlan(name="RandomRotation", arguments={"degrees": 9}),),
        },
        "place": {"loader_workers": 2},
    },
    "bfloat16": {"training": {"epochs": 3, "precision": "bfloat16"}},
    "balanced": {"data": {"sampler": "balanced", "repeated_augmentation": 2}},
    "head first": {"fine_tune": {"linear_probe_epochs": 1}},
    "compiled": {
        "model": {"channels_last": True},
        "training": {"epochs": 3, "precision": "bfloat16", "compile": True},
    },
    "best epoch": {"select": "best", "metric": "val/nll_calibrated", "maximize": False},
    "early stopping": {
        "schedule": {"name": "step", "step_epochs": 1, "gamma": 0.1},
        "training": {
            "epochs": 9,
            "early_stopping": EarlyStoppingPlan(
                metric="val/nll", maximize=False, patience=2, min_delta=0.5
            ),
        },
    },
}

if CUDA:
    half = {"epochs": 3, "precision": "float16", "clip_norm": 1.0}
    TECHNIQUES["float16"] = {"training": half}
GENERATORS = ["python", "numpy", "cuda" if CUDA else "torch"]


@pytest.fixture
def make(make_assignment_in: MakeAssignment, tmp_path: Path) -> MakeAssignment:
    """Builds an assignment of three epochs of three steps in a folder of the given name."""
    (tmp_path / "drawing.py").write_text(OWN_NETWORK)

    def build(name: str, *, checkpoint: Mapping[str, Any] = {}, **changes: Any) -> Assignment:
        place = dict(changes.pop("place", {}))
        if place.get("sources"):
            place["sources"] = str(tmp_path)
        place["checkpoint"] = plans.checkpoint_plan(**checkpoint)
        changes = {"training": {"epochs": 3}, **changes}
        return make_assignment_in(tmp_path / name, place=place, **changes)

    return build


def files(assignment: Assignment) -> list[str]:
    """Names in the run's folder of checkpoints, by the steps that are done."""
    found = list_checkpoints(folder_of(assignment))
    return [path.name for _, paths in sorted(found.items()) for path in paths]


def steps(assignment: Assignment) -> list[int]:
    """Steps that were done at each checkpoint that is there."""
    return sorted(list_checkpoints(folder_of(assignment)))


def folder_of(assignment: Assignment) -> Path:
    """Where a run's checkpoints lie."""
    return Path(assignment.plan.place.folder) / "checkpoints"


def contents(assignment: Assignment) -> dict[str, bytes]:
    """What a run left in its folder, by name."""
    folder = Path(assignment.plan.place.folder)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "compiled" and not CUDA else [])
        for name in TECHNIQUES
    ],
)
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    make: MakeAssignment, new_worker: NewWorker, name: str
) -> None:
    """Stopped in the middle of an epoch, between two, and in the very first step: same bits.

    Weights, metrics, reports and every file of the run's folder.
    """
    whole, broken = (make(folder, **TECHNIQUES[name]) for folder in ("whole", "broken"))
    undisturbed = new_worker()
    expected = train(whole, undisturbed.context)
    reports = []

    for worker in (
        new_worker(steps_until_stop=1),
        new_worker(steps_until_stop=4),
        new_worker(verdicts=["stop"]),
    ):
        assert train(broken, worker.context).status == "stopped"
        reports += worker.reports
    last = new_worker()
    result = train(broken, last.context)

    assert result == expected
    assert reports + last.reports == undisturbed.reports
    assert contents(broken) == contents(whole)
    assert len(last.notes[0]["history"]) == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_where_it_was(
    make: MakeAssignment, new_worker: NewWorker, name: str
) -> None:
    """Moments, counts and whatever else torch's optimizers keep."""
    arguments = {"momentum": 0.9} if name in WITH_MOMENTUM else {}
    optimizer = {"name": name, "lr": 0.01, "weight_decay": 0.0, "arguments": arguments}
    expected = train(make("whole", optimizer=optimizer), new_worker().context)
    broken = make("broken", optimizer=optimizer)

    train(broken, new_worker(steps_until_stop=5).context)

    assert train(broken, new_worker().context) == expected


@pytest.mark.parametrize("forgotten", ["optimizer", "schedule", "average", *GENERATORS])
def test_no_part_of_a_checkpoint_can_be_left_out(
    make: MakeAssignment, new_worker: NewWorker, forgotten: str
) -> None:
    """With any one of them as it is at the start, the same training ends elsewhere."""
    technique = {**DRAWING, "training": {"epochs": 3, "ema": 0.9}}
    first = make("first", **technique)
    expected = train(make("whole", **technique), new_worker().context)
    train(first, new_worker(steps_until_stop=1).context)
    broken = make("broken", **technique)
    train(broken, new_worker(steps_until_stop=5).context)
    start, there = (read_checkpoint(newest(assignment)) for assignment in (first, broken))
    if forgotten in there["state"]:
        there["state"][forgotten] = start["state"][forgotten]
    else:
        generators = there["ranks"][0]["generators"]
        generators[forgotten] = start["ranks"][0]["generators"][forgotten]
    newest(broken).unlink()
    write_checkpoint(folder_of(broken), there, step=5)

    result = train(broken, new_worker().context)

    assert result.weights_sha256 != expected.weights_sha256


def newest(assignment: Assignment) -> Path:
    """The newest checkpoint of a run."""
    path = find_checkpoint(folder_of(assignment)).path
    assert path is not None
    return path


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    make: MakeAssignment, new_worker: NewWorker, damage: str
) -> None:
    """Whatever happened to its bytes; the numbers in the end are the same."""
    expected = train(make("whole"), new_worker().context)
    broken = make("broken")
    train(broken, new_worker(verdicts=["continue", "stop"]).context)
    assert steps(broken) == [3, 6]
    path = newest(broken)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"truncated": data[:-9], "one bit": data, "empty": b""}[damage])
    worker = new_worker()

    assert train(broken, worker.context) == expected

    assert worker.notes[0]["damaged"] == [str(path)]
    assert "step-00000003" in worker.notes[0]["checkpoint"]
    assert [epoch for epoch, _ in worker.reports] == [2, 3]


def test_what_a_killed_attempt_left_half_written_goes(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """As soon as the run begins again, long before it has finished."""
    assignment = make("killed")
    folder = Path(assignment.plan.place.folder)
    (folder / "checkpoints").mkdir(parents=True)
    left = [folder / "checkpoints" / "step-00000003.0123abcd.part", folder / "last.1.part"]
    for path in left:
        path.write_bytes(b"half")

    assert train(assignment, new_worker(steps_until_stop=1).context).status == "stopped"

    assert [path.exists() for path in left] == [False, False]


def test_without_a_whole_checkpoint_training_begins_anew(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """It says so, with the names of those that were no good."""
    expected = train(make("whole"), new_worker().context)
    broken = make("broken")
    train(broken, new_worker(verdicts=["stop"]).context)
    path = newest(broken)
    path.write_bytes(b"")
    worker = new_worker()

    assert train(broken, worker.context) == expected

    assert worker.notes == [
        {"note": "resumed", "checkpoint": "", "damaged": [str(path)], "history": [], "steps": 0}
    ]


@pytest.mark.parametrize(
    ("plan", "stopped", "finished"),
    [
        ({"keep_last": 1}, [9], []),
        ({"keep_last": 3}, [3, 6, 9], []),
        ({"every_epochs": 2, "keep_last": 3}, [6, 9], []),
        ({"every_epochs": 0, "every_steps": 2, "keep_last": 9}, [2, 4, 8, 9], []),
        ({"every_epochs": None}, [9], []),
        ({"keep_last": 1, "keep_final": True}, [9], [12]),
    ],
)
def test_as_many_stay_as_were_asked_for(
    make: MakeAssignment,
    new_worker: NewWorker,
    plan: dict[str, Any],
    stopped: list[int],
    finished: list[int],
) -> None:
    """While a run is trained, and when it has finished; one that is stopped leaves its last."""
    assignment = make("run", checkpoint=plan, training={"epochs": 4})

    train(assignment, new_worker(verdicts=["continue", "continue", "stop"]).context)
    assert steps(assignment) == stopped

    result = train(assignment, new_worker().context)
    assert train(assignment, new_worker().context) == result
    result.remove_spent()
    assert steps(assignment) == finished
    assert folder_of(assignment).exists() == bool(finished)


def test_a_result_that_nobody_recorded_costs_a_few_steps(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """Whoever would have recorded it was killed: the run goes on from its last checkpoint."""
    assignment = make("run", checkpoint={"every_steps": 2, "every_epochs": 0})
    expected = train(assignment, new_worker().context)
    worker = new_worker()

    assert train(assignment, worker.context) == expected

    assert [epoch for epoch, _ in worker.reports] == [3]


def test_the_best_epochs_stay(make: MakeAssignment, new_worker: NewWorker) -> None:
    """Those of the highest accuracy, whole, after the run has finished."""
    assignment = make("run", checkpoint={"keep_best": 1}, optimizer={"lr": 0.02})
    worker = new_worker()

    train(assignment, worker.context).remove_spent()

    values = [metrics["val/accuracy"] for _, metrics in worker.reports]
    best = 1 + values.index(max(values))
    assert steps(assignment) == [3 * best]
    assert len(read_checkpoint(newest(assignment))["history"]) == best


def test_a_checkpoint_says_what_it_is_of(make: MakeAssignment, new_worker: NewWorker) -> None:
    """The plan and the classes are in it, readable without running code."""
    assignment = make("run")
    train(assignment, new_worker(verdicts=["stop"]).context)

    content = read_checkpoint(newest(assignment))

    assert content["plan"] == assignment.plan.to_json()
    assert content["classes"] == [str(digit) for digit in range(10)]


def test_a_checkpoint_of_other_classes_is_refused(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """A network's outputs mean what they meant when it was trained."""
    data = {"classes": ("3", "8"), "num_classes": 2, "train_size": 60}
    train(make("run", data=data), new_worker(verdicts=["stop"]).context)
    other = {"classes": ("8", "3"), "num_classes": 2, "train_size": 60}

    with pytest.raises(TrainingError, match=r"for the classes 3, 8, the data has 8, 3$"):
        train(make("run", data=other), new_worker().context)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_fails_the_run_and_harms_nothing(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """In one line; no half of a file stays, and what was there before can be gone on from."""
    expected = train(make("whole"), new_worker().context)
    broken = make("broken")
    train(broken, new_worker(verdicts=["stop"]).context)
    before = files(broken)

    with (
        small_files(20_000),
        pytest.raises(TrainingError, match=r"^checkpoint: cannot write .*; free the disk"),
    ):
        train(broken, new_worker().context)

    assert sorted(path.name for path in folder_of(broken).iterdir()) == before
    assert train(broken, new_worker().context) == expected


def test_a_lost_number_names_the_last_good_checkpoint(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """The step, and where to go on from; no checkpoint is written of broken weights."""
    assignment = make(
        "run",
        checkpoint={"every_steps": 1, "every_epochs": 0},
        optimizer={"lr": 1e18, "arguments": {}},
        schedule={"name": "constant"},
    )

    with pytest.raises(NonFiniteLossError) as caught:
        train(assignment, new_worker().context)

    assert f"; the last good checkpoint is {newest(assignment)}" in str(caught.value)
    weights = read_checkpoint(newest(assignment))["ranks"][0]["losses"]
    assert weights.isfinite().all()


def test_more_epochs_go_on_from_the_last(make: MakeAssignment, new_worker: NewWorker) -> None:
    """A run of three epochs goes on from one of two, as if three had been asked for at once."""
    constant = {"schedule": {"name": "constant"}, "checkpoint": {"keep_final": True}}
    expected = train(make("whole", **constant), new_worker().context)
    short = make("short", training={"epochs": 2}, **constant)
    train(short, new_worker().context)
    longer = make("longer", place={"extends": short.plan.place.folder}, **constant)
    worker = new_worker()

    assert train(longer, worker.context) == expected

    assert [epoch for epoch, _ in worker.reports] == [3]
    assert [len(note["history"]) for note in worker.notes] == [2]


def test_what_is_written_beside_training_is_of_one_moment(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """Checkpoints after every step hold the weights of their step, though steps go on."""
    every = {"checkpoint": {"every_steps": 1, "keep_last": 99}}
    assignment = make("run", **every)
    train(assignment, new_worker(verdicts=["continue", "stop"]).context)
    for step, paths in list_checkpoints(folder_of(assignment)).items():
        alone = make(f"alone-{step}", **every)
        train(alone, new_worker(steps_until_stop=step).context)

        found, expected = (read_checkpoint(path) for path in (paths[0], newest(alone)))

        weights = found["state"]["model"]
        assert weights.keys() == expected["state"]["model"].keys()
        assert all(
            torch.equal(value, expected["state"]["model"][name])
            for name, value in weights.items()
        )


def test_best_weights_survive_an_interruption(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """`best.safetensors` of an epoch that a lost attempt had thought best is put right."""
    best = {"select": "best", "optimizer": {"lr": 0.02}}
    whole, broken = make("whole", **best), make("broken", **best)
    expected: Result = train(whole, new_worker().context)
    train(broken, new_worker(verdicts=["continue", "stop"]).context)
    path = Path(broken.plan.place.folder) / "best.safetensors"
    path.write_bytes(b"of a lost attempt")

    assert train(broken, new_worker().context) == expected

    weights, wanted = load_file(path), load_file(Path(whole.plan.place.folder) / path.name)
    assert all(torch.equal(weights[name], value) for name, value in wanted.items())


def test_a_step_that_breaks_the_weights_is_no_good_checkpoint(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """Its loss was finite still: it was computed before the step."""
    assignment = make(
        "run",
        checkpoint={"every_steps": 1, "every_epochs": 0, "keep_last": 1},
        optimizer={"lr": 1e38, "arguments": {}},
        schedule={"name": "constant"},
    )

    with pytest.raises(NonFiniteLossError):
        train(assignment, new_worker().context)

    found = find_checkpoint(folder_of(assignment)).path
    if found is not None:
        model = read_checkpoint(found)["state"]["model"].values()
        assert all(value.isfinite().all() for value in model if value.is_floating_point())


def test_the_best_stay_by_any_metric(make: MakeAssignment, new_worker: NewWorker) -> None:
    """Also by one that is not computed in every epoch unless somebody asks for it."""
    assignment = make("run", metric="val/brier", maximize=False, checkpoint={"keep_best": 1})

    train(assignment, new_worker().context).remove_spent()

    assert len(steps(assignment)) == 1
