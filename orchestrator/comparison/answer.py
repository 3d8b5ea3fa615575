"""The answer of a search in words: one sentence, and what limits it.

Nothing is called better without an interval that leaves zero out, and a search that finds
nothing says how many seeds a smaller difference would take.
"""

from collections import Counter
from collections.abc import Sequence
from math import floor, log10

from orchestrator.comparison.outcome import SearchSummary, SettingSummary
from orchestrator.comparison.scale import Scale, scale_of
from orchestrator.comparison.simultaneous import detectable_difference, seeds_needed
from orchestrator.tracking.record import RunRecord, SearchRecord

_MOST_NOTES = 3
"""Settings without all seeds that get a line each."""


def word_answer(summary: SearchSummary) -> str:
    """The answer as one sentence, lower case, without a full stop."""
    scale = scale_of(summary)
    baseline = summary.baseline
    if len(summary.rows) == 1:
        return _word_single(summary, scale)
    if not any(row.scores for row in summary.rows):
        return f"no run has finished: nothing is known about {summary.metric}"
    if baseline is None:
        return "nothing is compared: no setting is the baseline; name one as search.baseline"
    if not baseline.is_complete:
        seeds = f"{len(baseline.scores)} of {baseline.num_seeds} seeds"
        return f"nothing is compared: the baseline {baseline.label} has {seeds}"
    if not summary.compared:
        return (
            f"nothing is compared: no value beside {baseline.label} has "
            f"{_count(len(summary.seeds), 'seed')}"
        )
    if len(summary.seeds) == 1:
        return f"{_subject(summary)} can be called better than {_short(baseline)} from 1 seed"
    if all(row.difference_interval is None for row in summary.compared):
        return (
            f"{_subject(summary)} can be called better than {_short(baseline)}: the "
            "differences are the same for every seed, which leaves no spread to judge them by"
        )
    return _word_comparison(summary, scale)


def _word_single(summary: SearchSummary, scale: Scale) -> str:
    row = summary.rows[0]
    if row.mean is None:
        return f"no run has finished: nothing is known about {summary.metric}"
    unit = " %" if scale.is_share else ""
    mean = f"{summary.metric} is {scale.word_score(row.mean)}{unit}"
    if len(row.scores) == 1:
        return f"{mean}, from 1 seed"
    if row.interval is None:
        return f"{mean}, the same for {len(row.scores)} seeds: no interval can be given"
    return f"{mean}, 95 % interval {scale.word_interval(row.interval)}, {len(row.scores)} seeds"


def _word_comparison(summary: SearchSummary, scale: Scale) -> str:
    better = _by_size(summary, "better")
    worse = _by_size(summary, "worse")
    parts = [_word_better(summary, better, scale) if better else _word_none(summary)]
    if worse:
        parts.append(_word_worse(worse, scale))
    if not better:
        parts.append(_word_outlook(summary, scale))
    return "; ".join(parts)


def _word_better(summary: SearchSummary, better: list[SettingSummary], scale: Scale) -> str:
    first, *others = better
    baseline = summary.baseline
    assert baseline is not None
    text = (
        f"{first.label} is better than {_short(baseline)} by {_word_size(first, scale)}, "
        f"95 % interval {_word_reach(first, scale)}, "
        f"{len(summary.compared) + 1} {_noun(summary)}s compared"
    )
    if not others:
        return text
    return f"{text}; also better: {_list_sizes(others, scale)}"


def _word_none(summary: SearchSummary) -> str:
    baseline = summary.baseline
    assert baseline is not None
    if len(summary.compared) == 1:
        return f"{summary.compared[0].label} is not better than {_short(baseline)}"
    return f"{_subject(summary)} is better than {_short(baseline)}"


def _word_worse(worse: list[SettingSummary], scale: Scale) -> str:
    if len(worse) == 1:
        row = worse[0]
        return f"{_short(row)} is worse by {_word_size(row, scale)} ({_word_reach(row, scale)})"
    return f"worse: {_list_sizes(worse, scale)}"


def _word_outlook(summary: SearchSummary, scale: Scale) -> str:
    """What a smaller difference would take: a round one that these seeds do not show."""
    sd = summary.sd_of_difference
    assert sd, "a difference with an interval has a spread"
    comparisons = len(summary.compared)
    shown = detectable_difference(len(summary.seeds), sd=sd, comparisons=comparisons)
    asked = _round_below(shown)
    needed = seeds_needed(asked, sd=sd, comparisons=comparisons)
    return (
        f"to see a difference of {scale.word_round_amount(asked)} "
        f"would need about {needed} seeds"
    )


def _round_below(number: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, … times a power of ten that is below the number."""
    power = 10.0 ** floor(log10(number))
    return max(
        step for step in (0.5 * power, power, 2 * power, 5 * power) if step < number * 0.999
    )


def list_notes(summary: SearchSummary, *, record: SearchRecord) -> tuple[str, ...]:
    """What limits the answer, the gravest first."""
    notes = []
    if record.limits:
        notes.append(record.limits)
    if record.caveat:
        notes.append(record.caveat)
    if record.status != "finished":
        done = sum(len(row.scores) for row in summary.rows)
        state = {"running": "is still running", "stopped": "was stopped", "failed": "failed"}
        total = len(record.settings) * len(record.seeds)
        notes.append(f"the search {state[record.status]}: {done} of {total} runs have a result")
    notes.extend(_list_missing([row for row in summary.rows if not row.is_complete]))
    notes.extend(_list_elastic(record.runs))
    if len(record.seeds) == 1:
        notes.append("1 seed: no interval; use search.seeds: 5")
    if record.select == "best":
        notes.append(
            "each run counts its best epoch, chosen by the same validation data: "
            "the values are optimistic"
        )
    return tuple(notes)


def _list_elastic(runs: Sequence[RunRecord]) -> list[str]:
    """A note where results depend on which machines were lost, and when."""
    counts = Counter(run.fewer_workers for run in runs if run.fewer_workers)
    return [
        f"{count} of {len(runs)} runs trained with {workers} at times: their numbers do not "
        "come out again to the bit"
        for workers, count in counts.items()
    ]


def _list_missing(rows: list[SettingSummary]) -> list[str]:
    """A note for each setting that lacks seeds; one for all of them where they are many."""
    if len(rows) <= _MOST_NOTES:
        return [_word_missing(row) for row in rows]
    names = ", ".join(f"{row.label} ({len(row.scores)} of {row.num_seeds})" for row in rows)
    return [f"no claim is made about the settings that lack seeds: {names}"]


def _word_missing(row: SettingSummary) -> str:
    reasons = ", ".join(f"{count} {what}" for what, count in row.unfinished.items())
    effect = (
        "nothing can be compared with it" if row.is_baseline else "no claim is made about it"
    )
    return f"{row.label} has {len(row.scores)} of {row.num_seeds} seeds ({reasons}): {effect}"


def _by_size(summary: SearchSummary, verdict: str) -> list[SettingSummary]:
    rows = [row for row in summary.compared if row.verdict == verdict]
    return sorted(rows, key=lambda row: -abs(row.difference or 0.0))


def _word_size(row: SettingSummary, scale: Scale) -> str:
    assert row.difference is not None
    return scale.word_amount(abs(row.difference))


def _word_reach(row: SettingSummary, scale: Scale) -> str:
    """The interval of a difference's size: both ends positive, whatever its direction."""
    assert row.difference_interval is not None
    low, high = sorted(abs(end) for end in row.difference_interval)
    return scale.word_interval((low, high))


def _noun(summary: SearchSummary) -> str:
    return "value" if len(summary.keys) == 1 else "setting"


def _subject(summary: SearchSummary) -> str:
    return f"no value of {summary.key_labels[0]}" if len(summary.keys) == 1 else "no setting"


def _short(row: SettingSummary) -> str:
    """The value alone where one key varies, else the label."""
    return row.values[0] if len(row.values) == 1 else row.label


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"all {number} {noun}s"


def _list_sizes(rows: list[SettingSummary], scale: Scale) -> str:
    """`0.2 by 1.9 points, 0.1 by 1.2 points and 2 more`; labels of several keys are long."""
    most = 4 if len(rows[0].values) == 1 else 2
    items = [f"{_short(row)} by {_word_size(row, scale)}" for row in rows]
    if len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
