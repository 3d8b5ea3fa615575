"""A recorded run as a network again: the right weights, the right code, the right classes."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.errors import RecordError, TrainingError
from orchestrator.planning.run_plan import Assignment, Place, RunPlan
from orchestrator.planning.section_plans import NormalizePlan, StepPlan
from orchestrator.training import loop
from orchestrator.training.context import WorkerContext
from orchestrator.training.model.weights_file import write_weights
from orchestrator.training.outputs import digest_weights
from orchestrator.training.rescoring import score_run
from orchestrator.training.restore import (
    RestoredRun,
    check_classes,
    importing_from,
    open_parts,
    restore_run,
)
from tests import plans
from tests.device import DEVICE

MakeAssignment = Callable[..., Assignment]


def train(assignment: Assignment, context: WorkerContext) -> tuple[RunPlan, loop.Result]:
    """Train, and say what and how it went."""
    return assignment.plan, loop.train(assignment, context)


TECHNIQUES = {
    "plain": {},
    "average": {"training": {"ema": 0.9}},
    "best": {"select": "best", "training": {"epochs": 3}},
    "measured": {"data": {"normalize": NormalizePlan(by="measured", mean=(), std=())}},
    "bfloat16": {"training": {"precision": "bfloat16"}, "model": {"channels_last": True}},
    "threads": {"threads": 2},
}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_scores_are_those_of_training_to_the_last_digit(
    technique: str, make_assignment: MakeAssignment, worker: Any
) -> None:
    """Every metric, by the same weights, also those of an average or of the best epoch."""
    assignment = make_assignment(**TECHNIQUES[technique])
    torch.set_num_threads(assignment.plan.numbers.threads)
    plan, result = train(assignment, worker.context)

    rescored = score_run(plan, "val")

    recorded = {name: result.metrics[name] for name in rescored.metrics}
    assert rescored.metrics == recorded
    assert len(recorded) == 10
    assert rescored.weights.name == ("best" if technique == "best" else "last") + ".safetensors"
    if technique != "best":
        assert digest_weights(restore_run(plan, DEVICE).model) == result.weights_sha256


def test_training_images_are_scored_by_the_labels_that_were_learned(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """80 images, a fifth of their labels redrawn; a crop of training has no part in it."""
    crop = StepPlan(name="RandomHorizontalFlip", arguments={"p": 1.0})
    plan, _ = train(make_assignment(data={"train_transforms": (crop,)}), worker.context)

    rescored = score_run(plan, "train")

    data = open_parts(plan.numbers.data, plan.place, seed=plan.numbers.seed, parts=("train",))
    model = restore_run(plan, DEVICE).model
    with torch.no_grad():
        named = model(data.train.images.to(DEVICE).float() / 255).argmax(dim=1).cpu()
    right = (named == data.train.labels).double().mean()
    assert rescored.scores.samples == 80
    assert rescored.metrics["train/accuracy"] == pytest.approx(float(right), abs=1e-12)


def test_a_run_without_weights_says_so(make_assignment: MakeAssignment, tmp_path: Path) -> None:
    """One that was stopped, or is still trained, names the file that is missing."""
    plan = make_assignment().plan

    with pytest.raises(RecordError) as refusal:
        restore_run(plan, DEVICE)
    assert str(refusal.value) == (
        f"digits/1/seed=3 has left no weights ({tmp_path}/run/last.safetensors is not there); "
        "a run leaves them when it has finished"
    )


def test_weights_of_another_network_are_refused(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """Names that differ, and the likely cause, rather than half a network."""
    plan, _ = train(make_assignment(training={"epochs": 1}), worker.context)
    path = Path(plan.place.folder) / "last.safetensors"
    write_weights(nn.Linear(2, 10).state_dict(), path, {})

    with pytest.raises(
        RecordError, match=r"does not hold the network of its plan \('features.0"
    ):
        restore_run(plan, DEVICE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cat": 1, "dog": 2}', '{"cat": "x"}'])
def test_classes_that_say_nothing_are_refused(
    text: str, make_assignment: MakeAssignment, worker: Any
) -> None:
    """An index must be there for every output, from 0 on."""
    plan, _ = train(make_assignment(training={"epochs": 1}), worker.context)
    (Path(plan.place.folder) / "classes.json").write_text(text)

    with pytest.raises(RecordError, match=r"classes.json does not say what the network's"):
        restore_run(plan, DEVICE)


@pytest.mark.parametrize(
    ("here", "text"),
    [
        (("cat", "fox", "dog"), "index 1 is 'dog' in its classes.json and 'fox' in the data"),
        (("cat",), "index 1 is 'dog' in its classes.json and no class in the data"),
        (
            ("cat", "dog", "fox"),
            "index 2 is no class in its classes.json and 'fox' in the data",
        ),
    ],
)
def test_other_classes_are_refused_at_the_first_difference(
    here: tuple[str, ...], text: str
) -> None:
    """The same names in another order would be scored as nonsense."""
    restored = RestoredRun(
        model=nn.Identity(),
        classes=("cat", "dog"),
        weights=Path("w"),
        precision=None,  # type: ignore[arg-type]
    )
    check_classes(restored, ("cat", "dog"), run_id="a/1/seed=0")

    with pytest.raises(RecordError, match=f"^a/1/seed=0: {text}; score it on the data"):
        check_classes(restored, here, run_id="a/1/seed=0")


def test_the_data_is_held_to_the_runs_classes(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """Two names exchanged in `classes.json` are found before anything is scored."""
    plan, _ = train(make_assignment(training={"epochs": 1}), worker.context)
    path = Path(plan.place.folder) / "classes.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "4": 7, "7": 4}))

    with pytest.raises(RecordError, match=r"index 4 is '7' in its classes.json and '4' in the"):
        score_run(plan, "val")


def test_a_folder_of_images_without_a_test_part_says_how_to_get_one(tmp_path: Path) -> None:
    """Nothing is scored on validation images in its place; no image is opened for it."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            (tmp_path / name / f"{number}.png").write_bytes(b"no image at all")
    data = plans.data_plan(dataset="image_folder", num_classes=2, train_size=0)
    place = Place(folder="", loader_workers=0, data_root=str(tmp_path))

    with pytest.raises(TrainingError) as refusal:
        open_parts(data, place, seed=0, parts=("test",))
    assert str(refusal.value) == (
        "data.test_share: image_folder has no test part (got 0); data.test_share=0.1 sets one "
        "aside, for a run before it is trained"
    )
    with pytest.raises(TrainingError, match="cannot be read"):
        open_parts(replace(data, test_share=0.2), place, seed=0, parts=("test",))


def test_own_modules_are_the_ones_that_travelled(tmp_path: Path) -> None:
    """A module of the same name that was imported before is put back afterwards."""
    folders = []
    for name in ("edited", "recorded"):
        folder = tmp_path / name
        (folder / "own_layers").mkdir(parents=True)
        (folder / "own_layers" / "__init__.py").write_text("")
        (folder / "own_layers" / "value.py").write_text(f"WORD = {name!r}\n")
        folders.append(str(folder))
    sys.path.insert(0, folders[0])
    try:
        from own_layers import value  # type: ignore[import-not-found]

        with importing_from(folders[1]):
            from own_layers import value as recorded

            assert recorded.WORD == "recorded"
        assert sys.modules["own_layers.value"] is value
        assert sys.path[0] == folders[0]
    finally:
        sys.path.remove(folders[0])
        for module in [name for name in sys.modules if name.startswith("own_layers")]:
            del sys.modules[module]
    assert value.WORD == "edited"
    assert not list((tmp_path / "recorded").rglob("*.pyc"))


def test_code_that_is_gone_is_named(tmp_path: Path) -> None:
    """Without it the network cannot be built; an empty name asks for nothing."""
    with (
        pytest.raises(RecordError, match=r"gone is gone, which held the run's own code"),
        importing_from(str(tmp_path / "gone")),
    ):
        pass
    with importing_from(""):
        pass
