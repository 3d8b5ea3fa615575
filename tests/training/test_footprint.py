"""What a plan says of the disk is what lies there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.run_plan import Assignment
from orchestrator.training.footprint import Footprint
from orchestrator.training.loop import train
from orchestrator.training.preview import preview_run
from tests import plans

WIDE = """
from torch import nn

class Wide(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 9000), nn.Linear(9000, num_classes))
"""


@pytest.mark.parametrize(
    ("optimizer", "ema"), [("sgd", None), ("adamw", 0.9), ("adafactor", None)]
)
def test_sizes_are_those_of_the_files(
    make_assignment: Callable[..., Assignment],
    new_worker: Callable[..., Any],
    tmp_path: Path,
    optimizer: str,
    ema: float | None,
) -> None:
    """Weights and a checkpoint, of a network that dwarfs the generators; told before a step."""
    (tmp_path / "wide.py").write_text(WIDE)
    momentum = {"momentum": 0.9} if optimizer == "sgd" else {}
    assignment = make_assignment(
        model={"architecture": "wide:Wide"},
        optimizer={"name": optimizer, "lr": 0.01, "arguments": momentum},
        training={"epochs": 1, "ema": ema},
        schedule={"name": "constant"},
        place={
            "sources": str(tmp_path),
            "checkpoint": plans.checkpoint_plan(keep_final=True),
        },
    )
    plan = assignment.plan

    told = preview_run(plan.numbers, plan.place).footprint
    train(assignment, new_worker().context)

    folder = Path(plan.place.folder)
    (checkpoint,) = (folder / "checkpoints").iterdir()
    assert (folder / "last.safetensors").stat().st_size == pytest.approx(told.weights, rel=0.01)
    if optimizer != "adafactor":
        assert checkpoint.stat().st_size == pytest.approx(told.training, rel=0.02)
    else:
        # It cannot be told beforehand and is bounded by what most keep.
        assert told.weights < checkpoint.stat().st_size < told.training


def test_a_footprint_is_told_in_words() -> None:
    """Runs, lanes, the best epoch's weights, and what stays for good."""
    footprint = Footprint(weights=100_000_000, training=300_000_000)
    plan = plans.checkpoint_plan(keep_last=2, keep_final=True)

    def told(**values: Any) -> str:
        return footprint.describe(**{"checkpoint": plan, "best": False, **values})

    assert told(runs=10, lanes=2) == (
        "1,000 MB of weights; checkpoints 1,200 MB while it trains, 3,000 MB for good"
    )
    assert told(runs=1, lanes=1, checkpoint=None, best=True) == "200 MB of weights"
