"""Which epoch counts, and when nothing improves any more."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.planning.run_plan import Assignment
from orchestrator.planning.section_plans import EarlyStoppingPlan
from orchestrator.training.history import History
from orchestrator.training.loop import train

MakeAssignment = Callable[..., Assignment]


def stop(**changes: Any) -> dict[str, Any]:
    """Ten epochs at most, two of patience with the accuracy."""
    values: dict[str, Any] = {
        "metric": "val/accuracy",
        "maximize": True,
        "patience": 2,
        "min_delta": 0.0,
    }
    return {"epochs": 10, "early_stopping": EarlyStoppingPlan(**(values | changes))}


def epochs_trained(history: History, values: list[float], metric: str = "val/accuracy") -> int:
    """How many epochs it takes until the history says that it is over."""
    for count, value in enumerate(values, start=1):
        history.add({metric: value})
        if history.is_over:
            return count
    raise AssertionError("it went on")


@pytest.mark.parametrize(
    ("changes", "values", "epochs"),
    [
        ({}, [0.5, 0.6, 0.6, 0.6, 0.9], 4),
        ({}, [0.5, 0.4, 0.6, 0.5, 0.6, 0.9], 5),
        ({"min_delta": 0.1}, [0.5, 0.55, 0.58, 0.9], 3),
        ({"min_delta": 0.1}, [0.5, 0.55, 0.61, 0.62, 0.63], 5),
        ({"patience": 3}, [0.5, 0.4, 0.4, 0.4], 4),
        ({}, [0.1 * n for n in range(10)], 10),
    ],
)
def test_it_stops_when_patience_is_at_its_end(
    make_assignment: MakeAssignment, changes: dict[str, Any], values: list[float], epochs: int
) -> None:
    """A change counts once it exceeds the least change, measured from the best so far."""
    history = History(make_assignment(training=stop(**changes)).plan)

    assert epochs_trained(history, values) == epochs


def test_a_metric_that_falls_improves_by_falling(make_assignment: MakeAssignment) -> None:
    """NLL: lower is better."""
    training = stop(metric="val/nll", maximize=False)
    history = History(make_assignment(training=training).plan)

    assert epochs_trained(history, [2.0, 1.0, 1.5, 1.2], "val/nll") == 4


def test_a_training_that_stops_early_is_finished(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """A least change that nothing reaches: three epochs, which the result says."""
    assignment = make_assignment(training=stop(min_delta=1.0))

    result = train(assignment, worker.context)

    assert [epoch for epoch, _ in worker.reports] == [1, 2, 3]
    assert (result.status, result.metrics["epochs"]) == ("finished", 3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"select": "best", "metric": "val/nll"}, False),
        ({"select": "best", "metric": "val/ece"}, True),
        ({"select": "last", "metric": "val/ece"}, False),
        ({"training": stop(metric="val/brier", maximize=False)}, True),
    ],
)
def test_costly_scores_are_computed_where_epochs_are_judged_by_them(
    make_assignment: MakeAssignment, changes: dict[str, Any], expected: bool
) -> None:
    """Otherwise once, at the end."""
    assert History(make_assignment(**changes).plan).needs_scores is expected
