"""Verb `rerun`: a recorded run trained once more, and whether its numbers come again."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import RecordError
from orchestrator.execution import resume
from orchestrator.launch.environment import prepare_environment
from orchestrator.planning.resolve import SOURCES
from orchestrator.recorded.runs import find_recorded
from orchestrator.reopening import plan_again
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.receipt import FILE_NAME, compare_receipts
from orchestrator.tracking.record import RunRecord, SearchRecord
from orchestrator.watch import Watch


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """A run and its repetition."""

    first: RunRecord
    second: RunRecord
    search: SearchRecord
    """Of the repetition."""
    metrics: tuple[tuple[str, float | None, float | None], ...]
    """Those that differ in any digit: name, value in each."""
    receipt: tuple[tuple[str, object, object], ...]
    """Fields of the two receipts that differ."""

    @property
    def is_same(self) -> bool:
        """Whether weights and metrics are the same to the last bit."""
        return self.first.weights_sha256 == self.second.weights_sha256 and not self.metrics


def rerun(
    text: str,
    *,
    storage_path: str | None = None,
    watch: Watch | None = None,
    wait_min: float = 0.0,
) -> Rerun:
    """Train a recorded run again, from its record, under the name `NAME.rerun`.

    Args:
        text: MLflow's id or its beginning, `NAME@best`, or `NAME/setting,seed=2`.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.
        watch: Somebody who looks on; nobody by default.
        wait_min: Minutes for which GPUs that other searches hold are waited for.

    Raises:
        RecordError: No run, or more than one, is meant; or another version recorded it.
        InfeasibleError: The machines cannot do it.
    """
    from orchestrator.launch.cluster import look

    prepare_environment()
    folder = open_storage(storage_path, writes=True)
    recorded = find_recorded(text, storage_path=storage_path)
    _refuse_elastic(recorded.found.run)
    cluster = look()
    search = recorded.found.search.folder
    plan = plan_again(recorded.plan, search, cluster.grown(), storage=folder)
    if recorded.plan.place.sources:
        shutil.copytree(search / SOURCES, plan.folder / SOURCES)
    # What it repeats is there already: nothing is taken from there.
    record = resume(
        plan, cluster, watch or Watch(), again=lambda: plan, first=search, wait_min=wait_min
    )
    first, (second,) = recorded.found.run, record.runs
    return Rerun(
        first=first,
        second=second,
        search=record,
        metrics=tuple(_compare_metrics(first.metrics, second.metrics)),
        receipt=tuple(
            compare_receipts(
                _read_receipt(Path(recorded.plan.place.folder)),
                _read_receipt(Path(plan.runs[0].place.folder)),
            )
        ),
    )


def _refuse_elastic(run: RunRecord) -> None:
    if run.fewer_workers:
        raise RecordError(
            f"{run.run_id} was trained with {run.fewer_workers} at times, and its numbers "
            "cannot come out again; train its experiment once more with run --fresh"
        )


def _compare_metrics(
    first: Mapping[str, float], second: Mapping[str, float]
) -> list[tuple[str, float | None, float | None]]:
    return [
        (name, first.get(name), second.get(name))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    ]


def _read_receipt(folder: Path) -> dict[str, Any]:
    """Empty where a run has none, as one that was recorded before there were any."""
    path = folder / FILE_NAME
    values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return values
