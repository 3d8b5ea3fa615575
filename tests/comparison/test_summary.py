"""Runs grouped by setting, differences and verdicts, worked by hand."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from orchestrator.comparison.outcome import SearchSummary
from orchestrator.comparison.summary import best_setting, summarize_search
from orchestrator.tracking.record import SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]
Smoothing = Callable[..., list[tuple[Setting, Sequence[float]]]]

# Differences 0.02, 0.03, 0.02, 0.03, 0.025: mean 0.025, standard error 0.005 / sqrt(5),
# Student's t with 4 degrees of freedom 2.7764.
BASELINE = [0.90, 0.91, 0.92, 0.93, 0.94]
BETTER = [0.92, 0.94, 0.94, 0.96, 0.965]


def test_means_and_intervals_are_over_seeds(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """0.90 to 0.94 by 0.01: mean 0.92, sd 0.0158, half width 0.0158 / sqrt(5) * 2.7764."""
    summary = summarize_search(make_record(smoothing({0.0: BASELINE, 0.1: BETTER})))

    row = summary.rows[0]
    assert row.mean == pytest.approx(0.92)
    assert row.sd == pytest.approx(0.0158114, abs=1e-6)
    assert row.interval == pytest.approx((0.92 - 0.0196324, 0.92 + 0.0196324), abs=1e-6)
    assert row.scores == dict(enumerate(BASELINE))
    assert row.is_baseline
    assert (row.difference, row.difference_interval, row.verdict) == (None, None, None)


def test_difference_is_paired_by_seed(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """The interval of a difference comes from the seeds' differences: 0.025 -+ 0.00621."""
    summary = summarize_search(make_record(smoothing({0.0: BASELINE, 0.1: BETTER})))

    row = summary.rows[1]
    assert row.difference == pytest.approx(0.025)
    assert row.difference_interval == pytest.approx((0.0187917, 0.0312083), abs=1e-6)
    assert row.verdict == "better"
    assert summary.sd_of_difference == pytest.approx(0.005)


def test_pairing_goes_by_seed_not_by_order(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Runs that ended in another order give the same summary."""
    record = make_record(smoothing({0.0: BASELINE, 0.1: BETTER}))
    shuffled = make_record(
        smoothing({0.0: BASELINE, 0.1: BETTER}), runs=tuple(reversed(record.runs))
    )

    assert summarize_search(shuffled) == summarize_search(record)


@pytest.mark.parametrize(
    ("maximize", "scores", "verdict"),
    [
        (True, [0.02, 0.03, 0.025], "better"),
        (True, [-0.02, -0.03, -0.025], "worse"),
        (False, [0.02, 0.03, 0.025], "worse"),
        (False, [-0.02, -0.03, -0.025], "better"),
        (True, [0.02, -0.03, 0.025], "open"),
    ],
)
def test_verdict_follows_the_direction_of_the_metric(
    make_record: MakeRecord, maximize: bool, scores: list[float], verdict: str
) -> None:
    """Better is higher for an accuracy and lower for a loss; around zero it stays open."""
    columns = [({"lr": 0.1}, [0.0, 0.0, 0.0]), ({"lr": 0.2}, scores)]

    summary = summarize_search(make_record(columns, maximize=maximize))

    assert summary.rows[1].verdict == verdict


def test_settings_keep_the_order_of_the_spec(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Rows are neither sorted by value nor by score, wherever the baseline stands."""
    columns = smoothing({0.2: BETTER, 0.0: BASELINE, 0.1: BETTER})

    summary = summarize_search(make_record(columns, baseline={"loss.label_smoothing": 0.0}))

    assert [row.label for row in summary.rows] == [
        "label_smoothing=0.2",
        "label_smoothing=0",
        "label_smoothing=0.1",
    ]
    assert summary.baseline is summary.rows[1]
    assert [row.verdict for row in summary.rows] == ["better", None, "better"]


def test_labels_name_what_varies_by_its_last_part(make_record: MakeRecord) -> None:
    """A key with one value throughout is left out; numbers are written as YAML writes them."""
    columns: list[tuple[Mapping[str, object], list[float]]] = [
        ({"optimizer.lr": 0.1, "loss.label_smoothing": 0.0, "model.weights": None}, [0.5]),
        ({"optimizer.lr": 1e-05, "loss.label_smoothing": 0.0, "model.weights": True}, [0.6]),
    ]

    summary = summarize_search(make_record(columns))

    assert summary.keys == ("optimizer.lr", "model.weights")
    assert [row.label for row in summary.rows] == [
        "lr=0.1 weights=null",
        "lr=1e-05 weights=true",
    ]


def test_labels_are_full_keys_where_last_parts_clash(make_record: MakeRecord) -> None:
    """`optimizer.name` and `schedule.name` would both be `name`."""
    columns = [
        ({"optimizer.name": "sgd", "schedule.name": "cosine", "training.epochs": 3}, [0.5]),
        ({"optimizer.name": "adam", "schedule.name": "none", "training.epochs": 4}, [0.5]),
    ]

    summary = summarize_search(make_record(columns))

    assert summary.key_labels == ("optimizer.name", "schedule.name", "epochs")
    assert summary.rows[0].label == "optimizer.name=sgd schedule.name=cosine epochs=3"


def test_incomplete_settings_get_no_claim(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A missing seed takes a setting out; the others are compared as if alone."""
    columns = smoothing({0.0: BASELINE, 0.1: BETTER, 0.2: [*BETTER[:3], "failed", "stopped"]})

    summary = summarize_search(make_record(columns))

    alone = summarize_search(make_record(smoothing({0.0: BASELINE, 0.1: BETTER})))
    incomplete = summary.rows[2]
    assert summary.rows[1] == alone.rows[1]
    assert incomplete.mean == pytest.approx(2.8 / 3)
    assert (incomplete.difference, incomplete.verdict) == (None, None)
    assert incomplete.unfinished == {"failed": 1, "stopped": 1}
    assert not incomplete.is_complete
    assert summary.compared == (summary.rows[1],)


def test_an_incomplete_baseline_allows_no_claim(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Without all of the baseline's seeds nothing is compared, though means are shown."""
    columns = smoothing({0.0: [*BASELINE[:4], "failed"], 0.1: BETTER})

    summary = summarize_search(make_record(columns))

    assert summary.compared == ()
    assert [row.verdict for row in summary.rows] == [None, None]
    assert summary.rows[1].mean == pytest.approx(0.945)


def test_a_run_that_was_never_started_is_waiting(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A search broken off early has settings without a single run."""
    record = make_record(smoothing({0.0: BASELINE, 0.1: BETTER}))
    broken_off = make_record(smoothing({0.0: BASELINE, 0.1: BETTER}), runs=record.runs[:6])

    summary = summarize_search(broken_off)

    assert summary.rows[1].unfinished == {"waiting": 4}


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_a_missing_one(
    make_record: MakeRecord, smoothing: Smoothing, score: float
) -> None:
    """A diverged run must not turn the means of its setting into NaN without a word."""
    columns = smoothing({0.0: BASELINE, 0.1: [*BETTER[:4], score]})

    summary = summarize_search(make_record(columns))

    assert summary.rows[1].unfinished == {"without val/accuracy": 1}
    assert summary.rows[1].mean == pytest.approx(0.94)


def test_one_seed_has_means_and_differences_alone(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A single seed gives no interval and no verdict."""
    summary = summarize_search(make_record(smoothing({0.0: [0.9], 0.1: [0.95]})))

    row = summary.rows[1]
    assert (row.mean, row.interval, row.sd) == (0.95, None, None)
    assert row.difference == pytest.approx(0.05)
    assert (row.difference_interval, row.verdict) == (None, None)
    assert summary.sd_of_difference is None


def test_a_single_setting_is_named_after_its_search(make_record: MakeRecord) -> None:
    """Without a search space there is one row, neither baseline nor compared."""
    summary = summarize_search(make_record([({}, BASELINE)]))

    assert [row.label for row in summary.rows] == ["digits"]
    assert summary.baseline is None
    assert summary.compared == ()
    assert summary.bar_of(summary.rows[0]) == summary.rows[0].interval


def test_a_single_searched_setting_is_named_by_its_values(make_record: MakeRecord) -> None:
    """A grid of one value still says which."""
    summary = summarize_search(make_record([({"optimizer.lr": 0.1}, BASELINE)]))

    assert summary.rows[0].label == "lr=0.1"


def test_bars_are_drawn_against_the_baseline(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A bar is the difference's interval put on the baseline's mean, 0.92: 0.9388 to 0.9512."""
    columns = smoothing({0.0: BASELINE, 0.1: BETTER, 0.2: [0.9, "failed", 0.9, 0.9, 0.9]})
    summary = summarize_search(make_record(columns))

    bars = [summary.bar_of(row) for row in summary.rows]

    assert bars[0] is None
    assert bars[1] == pytest.approx((0.9387917, 0.9512083), abs=1e-6)
    assert bars[2] is None


def best_label(summary: SearchSummary) -> str | None:
    """Label of the best setting."""
    best = best_setting(summary)
    return None if best is None else best.label


@pytest.mark.parametrize(
    ("maximize", "expected"), [(True, "label_smoothing=0.1"), (False, "label_smoothing=0")]
)
def test_best_setting_has_the_best_mean_in_the_metrics_direction(
    make_record: MakeRecord, smoothing: Smoothing, maximize: bool, expected: str
) -> None:
    """Highest or lowest mean; the first of equal ones."""
    columns = smoothing({0.0: BASELINE, 0.1: BETTER, 0.2: BETTER})

    assert best_label(summarize_search(make_record(columns, maximize=maximize))) == expected


def test_best_setting_has_all_seeds(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """A setting whose bad seeds failed must not win by that."""
    columns = smoothing({0.0: BASELINE, 0.1: [0.99, "failed", 0.99, 0.99, 0.99]})

    assert best_label(summarize_search(make_record(columns))) == "label_smoothing=0"


def test_nothing_complete_has_no_best_setting(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Where every setting lacks a seed there is nothing to look up."""
    columns = smoothing({0.0: [0.9, "failed"], 0.1: ["running", 0.9]})

    assert best_label(summarize_search(make_record(columns))) is None
