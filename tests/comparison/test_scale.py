"""Digits, signs and units."""

from collections.abc import Callable, Sequence

import pytest

from orchestrator.comparison.scale import Scale, is_share, scale_of
from orchestrator.comparison.summary import summarize_search
from orchestrator.comparison.text import cut_middle, wrap_words
from orchestrator.tracking.record import SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]
Smoothing = Callable[..., list[tuple[Setting, Sequence[float]]]]

PERCENT = Scale(is_share=True, decimals=1)
PLAIN = Scale(is_share=False, decimals=2)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("val/accuracy", True),
        ("val/balanced_accuracy", True),
        ("recall", True),
        ("val/macro_f1", True),
        ("val/nll", False),
        ("accuracy/loss", False),
    ],
)
def test_shares_are_known_by_their_name(metric: str, expected: bool) -> None:
    """The part after the last slash decides."""
    assert is_share(metric) is expected


def test_shares_are_printed_in_percent_and_points() -> None:
    """A score in percent, a difference in points, a sign on every difference but zero."""
    assert PERCENT.word_score(0.9561) == "95.6"
    assert PERCENT.word_difference(0.0222) == "+2.2"
    assert PERCENT.word_difference(-0.0222) == "−2.2"
    assert PERCENT.word_difference(-0.0001) == "0.0"
    assert PERCENT.word_amount(0.0222) == "2.2 points"
    assert PERCENT.word_interval((0.011, 0.033)) == "1.1 to 3.3"


def test_other_metrics_are_printed_as_they_are() -> None:
    """No percent, no points; a true minus sign."""
    assert PLAIN.word_score(-1.234) == "−1.23"
    assert PLAIN.word_amount(0.12) == "0.12"


@pytest.mark.parametrize(
    ("amount", "percent", "plain"),
    [
        (0.005, "0.5 points", "0.005"),
        (0.01, "1 point", "0.01"),
        (0.2, "20 points", "0.2"),
    ],
)
def test_round_amounts_keep_their_roundness(amount: float, percent: str, plain: str) -> None:
    """`0.5 points`, never `0.50 points` or `1.0 points`."""
    assert PERCENT.word_round_amount(amount) == percent
    assert PLAIN.word_round_amount(amount) == plain


@pytest.mark.parametrize(
    ("metric", "step", "decimals"),
    [
        ("val/accuracy", 0.01, 1),
        ("val/accuracy", 0.0001, 2),
        ("val/nll", 0.01, 3),
        ("val/nll", 1.0, 1),
        ("val/nll", 100.0, 0),
        ("val/nll", 1e-9, 6),
    ],
)
def test_digits_follow_the_intervals(
    make_record: MakeRecord, smoothing: Smoothing, metric: str, step: float, decimals: int
) -> None:
    """Differences -step, 0, step of 3 seeds have a half width of 2.48 steps."""
    columns = smoothing({0.0: [0.0, 0.0, 0.0], 0.1: [-step, 0.0, step]})

    summary = summarize_search(make_record(columns, metric=metric))

    assert scale_of(summary).decimals == decimals


@pytest.mark.parametrize(("metric", "decimals"), [("val/accuracy", 1), ("val/nll", 3)])
def test_digits_without_any_interval(
    make_record: MakeRecord, smoothing: Smoothing, metric: str, decimals: int
) -> None:
    """One seed gives nothing to follow: tenths of a percent, or thousandths."""
    columns = smoothing({0.0: [0.5], 0.1: [0.6]})

    summary = summarize_search(make_record(columns, metric=metric))

    assert scale_of(summary).decimals == decimals


def test_a_difference_never_looks_open_by_rounding(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """2.49 -+ 2.484 points leave zero out by 0.006: two decimals, not `0.0 to 5.0`."""
    columns = smoothing({0.0: [0.0, 0.0, 0.0], 0.1: [0.0149, 0.0249, 0.0349]})

    summary = summarize_search(make_record(columns))

    assert summary.rows[1].verdict == "better"
    assert "95 % interval 0.01 to 4.97, 2 values compared" in summary.sentence


def test_lines_never_part_a_number_from_its_percent_sign() -> None:
    """`95 %` moves to the next line as one, and stays an ordinary space."""
    assert wrap_words("by 2.5 points, 95 % interval", 18) == ["by 2.5 points,", "95 % interval"]


def test_lines_are_indented_by_the_caller() -> None:
    """The first line and the others apart, as a bullet needs it."""
    assert wrap_words("one two three", 9, first="- ", rest="  ") == ["- one two", "  three"]


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [("short", 5, "short"), ("abcdefghij", 7, "abc…hij"), ("abcdefghij", 6, "ab…hij")],
)
def test_names_are_cut_in_their_middle(text: str, room: int, expected: str) -> None:
    """Both ends stay, one character stands for the rest."""
    assert cut_middle(text, room) == expected
