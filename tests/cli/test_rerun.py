"""What `rerun --check` says of a run and its repetition."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cli.rerun import describe_rerun
from orchestrator.recorded.rerun import Rerun
from orchestrator.tracking.record import RunRecord, SearchRecord

FIRST = RunRecord(
    run_id="demo/1/seed=0",
    setting={},
    seed=0,
    status="finished",
    metrics={"val/accuracy": 0.5, "val/nll": 1.0},
    history=(),
    duration_s=1.0,
    weights_sha256="0123456789abcdef0",
    error="",
    traceback="",
)
SECOND = replace(FIRST, run_id="demo/2/seed=0")


@pytest.fixture
def same() -> Rerun:
    """A repetition with the very numbers."""
    search = SearchRecord(
        name="demo",
        number=2,
        folder=Path("demo/2"),
        status="finished",
        metric="val/accuracy",
        maximize=True,
        select="last",
        settings=({},),
        seeds=(0,),
        baseline=None,
        caveat="",
        limits="",
        runs=(SECOND,),
    )
    return Rerun(first=FIRST, second=SECOND, search=search, metrics=(), receipt=())


def test_the_same_numbers_are_said_in_one_line(same: Rerun) -> None:
    """With the digest, and how many metrics there are."""
    assert list(describe_rerun(same)) == [
        "the same: weights (SHA-256 0123456789abcdef) and 2 metrics to the last bit"
    ]


def test_other_numbers_are_named_with_what_else_differs(same: Rerun) -> None:
    """Weights, metrics, and the receipts' fields, each as recorded and as it is now."""
    other = replace(
        same,
        second=replace(SECOND, weights_sha256="f" * 64),
        metrics=(("val/nll", 1.0, 1.5),),
        receipt=(("software.torch", "2.14.0", "2.15.0"),),
    )

    assert not other.is_same
    assert list(describe_rerun(other)) == [
        "different: demo/1/seed=0 and demo/2/seed=0",
        "  weights SHA-256: 0123456789abcdef recorded, ffffffffffffffff now",
        "  val/nll: 1.0 recorded, 1.5 now",
        "  software.torch: 2.14.0 recorded, 2.15.0 now",
    ]


def test_an_unexplained_difference_is_said_to_be_one(same: Rerun) -> None:
    """Where the receipts agree, the cause lies in what no receipt holds."""
    other = replace(same, metrics=(("val/nll", 1.0, None),))

    assert list(describe_rerun(other))[1:] == [
        "  val/nll: 1.0 recorded, None now",
        "  the receipts name the same software, hardware and settings",
    ]
