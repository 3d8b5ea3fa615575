"""Grouped over seeds: count, mean, interval, difference to the baseline; never a bare best.

A setting that lacks a seed is named and gets no claim: its missing run may have failed because
of the value, and a mean over other seeds is not paired with the baseline's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from orchestrator.comparison.answer import list_notes, word_answer
from orchestrator.comparison.outcome import (
    SearchSummary,
    SettingSummary,
    Verdict,
)
from orchestrator.comparison.simultaneous import compare_to_baseline, mean_interval
from orchestrator.planning.names import shorten_keys, word_value
from orchestrator.planning.run_plan import Scalar
from orchestrator.tracking.record import RunRecord, SearchRecord, Setting

__all__ = ["SearchSummary", "SettingSummary", "best_setting", "summarize_search"]

_Identity = tuple[tuple[str, Scalar], ...]


def summarize_search(record: SearchRecord) -> SearchSummary:
    """Group a search's runs by setting and compare every setting with the baseline."""
    keys = _varying_keys(record.settings)
    key_labels = shorten_keys(keys)
    runs = _index_runs(record.runs)
    rows = tuple(
        _summarize_setting(
            setting,
            runs=runs.get(_identity(setting), {}),
            record=record,
            names=dict(zip(keys, key_labels, strict=True)),
        )
        for setting in record.settings
    )
    rows, sd_of_difference = _compare(rows, maximize=record.maximize)
    unworded = SearchSummary(
        label=record.label,
        metric=record.metric,
        maximize=record.maximize,
        keys=keys,
        key_labels=key_labels,
        seeds=record.seeds,
        rows=rows,
        sd_of_difference=sd_of_difference,
        sentence="",
        notes=(),
    )
    return replace(
        unworded, sentence=word_answer(unworded), notes=list_notes(unworded, record=record)
    )


def best_setting(summary: SearchSummary) -> SettingSummary | None:
    """The setting with the best mean among those with all seeds, for looking up `NAME@best`.

    Its mean is the largest of several and so flatters it; it is a name, not a claim. None where
    no setting has all seeds; the first one where means are equal.
    """
    sign = 1.0 if summary.maximize else -1.0
    complete = [row for row in summary.rows if row.is_complete and row.mean is not None]
    return max(complete, key=lambda row: sign * (row.mean or 0.0), default=None)


def _varying_keys(settings: Sequence[Setting]) -> tuple[str, ...]:
    """Keys with more than one value; all keys where only one setting was trained."""
    keys = tuple(dict.fromkeys(key for setting in settings for key in setting))
    if len(settings) == 1:
        return keys
    return tuple(key for key in keys if len({setting.get(key) for setting in settings}) > 1)


def _identity(setting: Setting) -> _Identity:
    return tuple(sorted(setting.items()))


def _index_runs(runs: Sequence[RunRecord]) -> dict[_Identity, dict[int, RunRecord]]:
    """Setting to seed to run."""
    index: dict[_Identity, dict[int, RunRecord]] = {}
    for run in runs:
        index.setdefault(_identity(run.setting), {})[run.seed] = run
    return index


def _summarize_setting(
    setting: Setting,
    *,
    runs: Mapping[int, RunRecord],
    record: SearchRecord,
    names: Mapping[str, str],
) -> SettingSummary:
    scores: dict[int, float] = {}
    unfinished: Counter[str] = Counter()
    reused: dict[str, None] = {}
    for seed in record.seeds:
        run = runs.get(seed)
        status = "waiting" if run is None else run.status
        score = float("nan") if run is None else run.metrics.get(record.metric, float("nan"))
        if run is not None and status == "finished" and isfinite(score):
            scores[seed] = score
            if run.reused:
                reused["#".join(run.reused.split("/")[:2])] = None
        else:
            unfinished[f"without {record.metric}" if status == "finished" else status] += 1
    values = tuple(word_value(setting.get(key)) for key in names)
    array = np.array(list(scores.values()), dtype=np.float64)
    return SettingSummary(
        setting=setting,
        label=" ".join(
            f"{name}={value}" for name, value in zip(names.values(), values, strict=True)
        )
        or record.name,
        values=values,
        is_baseline=len(record.settings) > 1 and setting == record.baseline,
        scores=scores,
        reused=tuple(reused),
        num_seeds=len(record.seeds),
        unfinished=dict(unfinished),
        mean=float(array.mean()) if scores else None,
        interval=mean_interval(array),
        sd=float(array.std(ddof=1)) if len(scores) > 1 else None,
        difference=None,
        difference_interval=None,
        verdict=None,
    )


def _compare(
    rows: tuple[SettingSummary, ...], *, maximize: bool
) -> tuple[tuple[SettingSummary, ...], float | None]:
    """Fill in the differences of the settings that have all seeds, and their spread."""
    baseline = next((row for row in rows if row.is_baseline), None)
    compared = [i for i, row in enumerate(rows) if row.is_complete and not row.is_baseline]
    if baseline is None or not baseline.is_complete or not compared:
        return rows, None
    columns = [list(row.scores.values()) for row in (baseline, *(rows[i] for i in compared))]
    differences = compare_to_baseline(np.array(columns, dtype=np.float64).T)
    filled = list(rows)
    for column, i in enumerate(compared):
        interval = None
        if differences.low is not None and differences.high is not None:
            interval = float(differences.low[column]), float(differences.high[column])
        filled[i] = replace(
            rows[i],
            difference=float(differences.mean[column]),
            difference_interval=interval,
            verdict=_judge(interval, maximize=maximize),
        )
    return tuple(filled), differences.sd if len(baseline.scores) > 1 else None


def _judge(interval: tuple[float, float] | None, *, maximize: bool) -> Verdict | None:
    if interval is None:
        return None
    if interval[0] <= 0 <= interval[1]:
        return "open"
    return "better" if (interval[0] > 0) == maximize else "worse"
