"""The response curve for a terminal, cell by cell."""

from collections.abc import Callable, Sequence

import pytest

from orchestrator.comparison.curve import describe_curve
from orchestrator.comparison.summary import summarize_search
from orchestrator.tracking.record import SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]
Smoothing = Callable[..., list[tuple[Setting, Sequence[float]]]]

BASELINE = [0.90, 0.91, 0.92, 0.93, 0.94]


def plus(*differences: float) -> list[float]:
    """The baseline's scores, each plus a difference in points."""
    return [score + d / 100 for score, d in zip(BASELINE, differences, strict=True)]


def curve(record: SearchRecord, width: int = 80) -> list[str]:
    """The described curve, line by line."""
    return describe_curve(summarize_search(record), width).splitlines()


def test_one_key_runs_from_left_to_right(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """From 92.0, the baseline's mean, to 95.1 in 11 steps of 0.28: 94.5 is 9 up, 93.9 is 7."""
    assert curve(make_record(smoothing({0.0: BASELINE, 0.4: plus(2, 3, 2, 3, 2.5)}))) == [
        "      val/accuracy, %",
        "95.1 ┤          ┬",
        "     │          │",
        "     │          ▲",
        "     │          │",
        "     │          ┴",
        "     │",
        "     │",
        "     │",
        "     │",
        "     │",
        "     │",
        "92.0 ┤┄┄┄●┄┄┄┄┄┄┄┄┄┄",
        "     └──────────────",
        "         0     0.4",
        "      label_smoothing",
    ]


def test_numbers_are_put_in_order(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """A random search gives values in any order; words keep the spec's."""
    numbers = make_record(smoothing({0.3: BASELINE, 0.1: BASELINE, 0.2: BASELINE}))
    words = make_record([({"name": word}, BASELINE) for word in ("sgd", "adam")])

    assert curve(numbers)[-2].split() == ["0.1", "0.2", "0.3"]
    assert curve(words)[-2].split() == ["sgd", "adam"]


def test_a_worse_value_stays_off_the_line_in_few_cells(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A bar that ends within half a cell of the baseline's line must not touch it."""
    far = plus(40, 41, 40, 41, 40)
    slightly_down, slightly_up = plus(-2, -3, -2, -3, -2.5), plus(2, 3, 2, 3, 2.5)
    summary_lines = curve(
        make_record(smoothing({0.0: BASELINE, 0.1: slightly_down, 0.2: slightly_up, 0.3: far}))
    )

    (line,) = [text for text in summary_lines if "┄" in text]
    assert line.count("●") == 1
    assert not set("▲▼┬┴│") & set(line.split("┤")[1])


def test_missing_seeds_are_hollow_and_missing_settings_empty(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A mean over too few seeds is shown as such; no run, no point."""
    columns = smoothing({0.0: [0.5, 0.7], 0.1: [0.6, "failed"], 0.2: ["failed", "failed"]})

    text = "\n".join(curve(make_record(columns)))

    assert text.count("○") == 1
    assert text.count("●") == 1


def test_a_baseline_without_any_run_draws_no_line(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """There is nothing to draw it at."""
    columns = smoothing({0.0: ["failed", "failed"], 0.1: [0.6, 0.7], 0.2: [0.6, 0.8]})

    assert "┄" not in "\n".join(curve(make_record(columns)))


def test_many_values_lie_on_their_side(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """What does not fit the width gets a line per value, under the key's name."""
    columns = smoothing({i / 100: BASELINE for i in range(12)})

    lines = curve(make_record(columns), 60)

    assert lines[0] == "label_smoothing"
    assert [line.split()[0] for line in lines[1:13]] == [f"{i / 100:g}" for i in range(12)]
    assert max(map(len, lines)) <= 60


def test_several_keys_get_a_line_per_setting(make_record: MakeRecord) -> None:
    """Labels in full, the baseline's line through all, bars to the right of it for better."""
    columns = [
        ({"lr": 0.1, "momentum": 0.0}, BASELINE),
        ({"lr": 0.1, "momentum": 0.9}, plus(2, 3, 2, 3, 2.5)),
        ({"lr": 0.2, "momentum": 0.9}, ["failed"] * 5),
    ]

    assert curve(make_record(columns), 60) == [
        "lr=0.1 momentum=0    ●",
        "lr=0.1 momentum=0.9  ┊                     ├──────▲──────┤",
        "lr=0.2 momentum=0.9  ┊",
        "                     92.0                             95.1",
        "                                val/accuracy, %",
    ]


def test_one_setting_shows_its_own_interval(make_record: MakeRecord) -> None:
    """Mean 92 in the middle of 90.0 to 94.0."""
    assert curve(make_record([({}, BASELINE)]), 29) == [
        "digits  ├────────●────────┤",
        "        90.0           94.0",
        "          val/accuracy, %",
    ]


def test_one_number_has_no_scale(make_record: MakeRecord) -> None:
    """Between 0.5 and 0.5 there is nothing to measure: a point and the metric."""
    assert curve(make_record([({}, [0.5])], metric="val/nll"), 30) == [
        "digits            ●",
        "              val/nll",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_nothing_finished_draws_nothing(
    make_record: MakeRecord, smoothing: Smoothing, width: int
) -> None:
    """An empty text rather than empty axes."""
    columns = smoothing({0.0: ["failed"], 0.1: ["waiting"]})

    assert describe_curve(summarize_search(make_record(columns)), width) == ""


def test_long_names_leave_room_for_the_curve(make_record: MakeRecord) -> None:
    """Names take half the width at most."""
    columns = [({"model": "x" * 60 + str(i)}, BASELINE) for i in range(2)]

    lines = curve(make_record(columns), 60)

    assert lines[1].startswith("x" * 14 + "…" + "x" * 14 + "0  ")
    assert max(map(len, lines)) <= 60
