"""The sentence and the notes, word for word."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.comparison.answer import word_answer
from orchestrator.comparison.summary import summarize_search
from orchestrator.tracking.record import SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]
Smoothing = Callable[..., list[tuple[Setting, Sequence[float]]]]

BASELINE = [0.90, 0.91, 0.92, 0.93, 0.94]


def plus(*differences: float) -> list[float]:
    """The baseline's scores, each plus a difference in points."""
    return [score + d / 100 for score, d in zip(BASELINE, differences, strict=True)]


# Mean 2.5, 1.5 and -2.5 points, each with standard deviation 0.5; mean 0.3 with 0.7649.
UP, LESS_UP = plus(2, 3, 2, 3, 2.5), plus(1, 2, 1, 2, 1.5)
DOWN, LESS_DOWN = plus(-2, -3, -2, -3, -2.5), plus(-1, -2, -1, -2, -1.5)
AROUND = plus(0.3, 0.9, -0.3, 1.2, -0.6)


def sentence(record: SearchRecord) -> str:
    """The answer of a record."""
    return summarize_search(record).sentence


def notes(record: SearchRecord) -> tuple[str, ...]:
    """What limits the answer of a record."""
    return summarize_search(record).notes


def test_a_better_value_is_named_with_size_and_interval(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """2.5 points with standard error 0.2236 and t = 2.7764: 1.9 to 3.1."""
    assert sentence(make_record(smoothing({0.0: BASELINE, 0.4: UP}))) == (
        "label_smoothing=0.4 is better than 0 by 2.5 points, 95 % interval 1.9 to 3.1, "
        "2 values compared"
    )


def test_the_largest_of_several_better_values_comes_first(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """The others follow by size; a worse one is named with its interval.

    All standard deviations are 0.5 points, so shrinkage changes none: t for 3 comparisons and
    4 + 2.8 degrees is 3.02, half width 0.68.
    """
    columns = smoothing({0.0: BASELINE, 0.2: LESS_UP, 0.4: UP, 0.8: DOWN})

    assert sentence(make_record(columns)) == (
        "label_smoothing=0.4 is better than 0 by 2.5 points, 95 % interval 1.8 to 3.2, "
        "4 values compared; also better: 0.2 by 1.5 points; "
        "0.8 is worse by 2.5 points (1.8 to 3.2)"
    )


def test_long_lists_are_cut(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Four others by name, the rest by number."""
    columns = smoothing({0.0: BASELINE} | {0.1 * i: UP for i in range(1, 8)})

    assert sentence(make_record(columns)).endswith(
        "; also better: 0.2 by 2.5 points, 0.3 by 2.5 points, 0.4 by 2.5 points, "
        "0.5 by 2.5 points and 2 more"
    )


def test_nothing_better_says_what_more_seeds_would_show(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """1 point is 1 / 0.7649 = 1.31 standard deviations: 7 pairs by the textbook's tables."""
    assert sentence(make_record(smoothing({0.0: BASELINE, 0.1: AROUND}))) == (
        "label_smoothing=0.1 is not better than 0; "
        "to see a difference of 1 point would need about 7 seeds"
    )


def test_worse_values_are_named_where_nothing_is_better(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Several worse ones are listed by size, and the outlook closes the sentence."""
    columns = smoothing({0.0: BASELINE, 0.1: LESS_DOWN, 0.2: DOWN})

    assert sentence(make_record(columns)).startswith(
        "no value of label_smoothing is better than 0; "
        "worse: 0.2 by 2.5 points and 0.1 by 1.5 points; to see a difference of "
    )


def test_a_metric_that_is_no_share_has_no_points(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A loss is better when lower, by a plain number to two digits of its interval."""
    columns = smoothing({0.0: BASELINE, 0.4: DOWN})

    assert sentence(make_record(columns, metric="val/nll", maximize=False)) == (
        "label_smoothing=0.4 is better than 0 by 0.0250, 95 % interval 0.0188 to 0.0312, "
        "2 values compared"
    )


def test_several_keys_are_named_in_full(make_record: MakeRecord) -> None:
    """A value alone would not tell which key it belongs to."""
    columns = [
        ({"optimizer.lr": 0.1, "loss.label_smoothing": 0.0}, BASELINE),
        ({"optimizer.lr": 0.1, "loss.label_smoothing": 0.1}, DOWN),
        ({"optimizer.lr": 0.2, "loss.label_smoothing": 0.1}, AROUND),
    ]

    assert sentence(make_record(columns)).startswith(
        "no setting is better than lr=0.1 label_smoothing=0; "
        "lr=0.1 label_smoothing=0.1 is worse by 2.5 points ("
    )


def test_one_setting_is_reported_with_its_interval(make_record: MakeRecord) -> None:
    """Mean 92 %, standard error 0.7071, t = 2.7764: 90.0 to 94.0."""
    assert sentence(make_record([({}, BASELINE)])) == (
        "val/accuracy is 92.0 %, 95 % interval 90.0 to 94.0, 5 seeds"
    )


def test_one_setting_and_one_seed_is_a_number_without_interval(
    make_record: MakeRecord,
) -> None:
    """The sentence says from how little it comes, the note what to do."""
    record = make_record([({}, [0.9])])

    assert sentence(record) == "val/accuracy is 90.0 %, from 1 seed"
    assert notes(record) == ("1 seed: no interval; use search.seeds: 5",)


def test_one_setting_whose_seeds_agree_has_no_interval(make_record: MakeRecord) -> None:
    """Three equal scores are no proof of a spread of zero."""
    assert sentence(make_record([({}, [2.5, 2.5, 2.5])], metric="val/nll")) == (
        "val/nll is 2.500, the same for 3 seeds: no interval can be given"
    )


def test_no_finished_run_is_said(make_record: MakeRecord) -> None:
    """A single setting that failed throughout."""
    assert sentence(make_record([({}, ["failed", "failed"])])) == (
        "no run has finished: nothing is known about val/accuracy"
    )


def test_one_seed_makes_nothing_better(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """However large the difference of a single seed is."""
    record = make_record(smoothing({0.0: [0.1], 0.1: [0.9]}))

    assert (
        sentence(record)
        == "no value of label_smoothing can be called better than 0 from 1 seed"
    )
    assert notes(record) == ("1 seed: no interval; use search.seeds: 5",)


def test_equal_differences_make_nothing_better(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """One point at every seed: certain or coincidence, the seeds cannot tell."""
    assert sentence(make_record(smoothing({0.0: BASELINE, 0.1: plus(1, 1, 1, 1, 1)}))) == (
        "no value of label_smoothing can be called better than 0: the differences are the same "
        "for every seed, which leaves no spread to judge them by"
    )


def test_an_incomplete_baseline_is_the_answer(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Nothing is compared, and the note says what became of the missing seed."""
    record = make_record(smoothing({0.0: [*BASELINE[:4], "failed"], 0.1: UP}))

    assert sentence(record) == (
        "nothing is compared: the baseline label_smoothing=0 has 4 of 5 seeds"
    )
    assert notes(record) == (
        "label_smoothing=0 has 4 of 5 seeds (1 failed): nothing can be compared with it",
    )


def test_no_baseline_is_the_answer(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Where the spec names none, the key that does is named."""
    columns = smoothing({0.0: BASELINE, 0.1: UP})

    assert sentence(make_record(columns, baseline=None)) == (
        "nothing is compared: no setting is the baseline; name one as search.baseline"
    )


def test_a_baseline_alone_is_compared_with_nothing(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Every other value lacks a seed."""
    columns = smoothing({0.0: BASELINE, 0.1: [*UP[:4], "failed"]})

    assert sentence(make_record(columns)) == (
        "nothing is compared: no value beside label_smoothing=0 has all 5 seeds"
    )


def test_missing_seeds_are_named_with_their_reasons(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Each incomplete setting gets a note; the search's own state comes before them."""
    columns = smoothing(
        {
            0.0: BASELINE,
            0.1: UP,
            0.2: [*UP[:2], "failed", "failed", "waiting"],
            0.3: ["running"] + ["waiting"] * 4,
        }
    )

    assert notes(make_record(columns, status="running")) == (
        "the search is still running: 12 of 20 runs have a result",
        "label_smoothing=0.2 has 2 of 5 seeds (2 failed, 1 waiting): no claim is made about it",
        "label_smoothing=0.3 has 0 of 5 seeds (1 running, 4 waiting): "
        "no claim is made about it",
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("stopped", "the search was stopped: 10 of 10 runs have a result"),
        ("failed", "the search failed: 10 of 10 runs have a result"),
    ],
)
def test_a_search_that_did_not_end_well_says_so(
    make_record: MakeRecord, smoothing: Smoothing, status: str, said: str
) -> None:
    """The state of the search is part of its answer."""
    columns = smoothing({0.0: BASELINE, 0.1: UP})

    assert notes(make_record(columns, status=status)) == (said,)


def test_a_bent_metric_and_a_chosen_epoch_are_said(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """What was no whole training comes first, then the caveat; best epochs come last."""
    columns = smoothing({0.0: BASELINE, 0.1: UP})

    assert notes(
        make_record(columns, caveat="it is bent", limits="2 batches", select="best")
    ) == (
        "2 batches",
        "it is bent",
        "each run counts its best epoch, chosen by the same validation data: "
        "the values are optimistic",
    )


def test_runs_that_lost_a_machine_are_counted(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Their numbers depend on when that was."""
    record = make_record(smoothing({0.0: BASELINE, 0.1: UP}))
    runs = [replace(run, fewer_workers="1 of 2 workers") for run in record.runs[:2]]

    assert notes(replace(record, runs=(*runs, *record.runs[2:]))) == (
        f"2 of {len(record.runs)} runs trained with 1 of 2 workers at times: their numbers do "
        "not come out again to the bit",
    )


def test_a_plain_answer_has_no_notes(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Nothing to say is said by nothing; wording again gives the same sentence."""
    summary = summarize_search(make_record(smoothing({0.0: BASELINE, 0.1: UP})))

    assert summary.notes == ()
    assert word_answer(summary) == summary.sentence
