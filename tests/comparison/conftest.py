"""Records of pretended searches, as small as a claim allows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking.record import RunRecord, RunStatus, SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]


def _make_run(
    setting: Setting, seed: int, status: RunStatus, metrics: Mapping[str, float]
) -> RunRecord:
    return RunRecord(
        run_id=f"digits/1/{setting}-{seed}",
        setting=setting,
        seed=seed,
        status=status,
        metrics=metrics if status == "finished" else {},
        history=(),
        duration_s=1.0,
        weights_sha256="",
        error="it broke" if status == "failed" else "",
        traceback="",
    )


def _make_record(
    columns: Sequence[tuple[Setting, Sequence[float | RunStatus]]], **changes: Any
) -> SearchRecord:
    """One column per setting: a score per seed, or what became of the run instead."""
    metric = changes.get("metric", "val/accuracy")
    runs = [
        _make_run(setting, seed, "finished", {metric: entry})
        if isinstance(entry, float)
        else _make_run(setting, seed, entry, {})
        for setting, entries in columns
        for seed, entry in enumerate(entries)
    ]
    values: dict[str, Any] = {
        "name": "digits",
        "number": 1,
        "folder": Path("digits/1"),
        "status": "finished",
        "metric": metric,
        "maximize": True,
        "select": "last",
        "settings": tuple(setting for setting, _ in columns),
        "seeds": tuple(range(len(columns[0][1]))),
        "baseline": columns[0][0] if len(columns) > 1 else None,
        "caveat": "",
        "limits": "",
        "runs": tuple(runs),
    }
    return SearchRecord(**(values | changes))


@pytest.fixture
def make_record() -> MakeRecord:
    """Builds a SearchRecord from columns of scores; keywords replace single fields."""
    return _make_record


@pytest.fixture
def smoothing() -> Callable[..., list[tuple[Setting, Sequence[float]]]]:
    """Builds columns over `loss.label_smoothing` from value to scores."""

    def columns(
        scores: Mapping[float, Sequence[float]],
    ) -> list[tuple[Setting, Sequence[float]]]:
        return [({"loss.label_smoothing": value}, column) for value, column in scores.items()]

    return columns
