"""Composes the stages: what the command line and notebooks call.

spec = load_spec("experiments/digits-label-smoothing.yaml")
record = run(spec)
record.to_pandas()
compare("digits-label-smoothing").sentence
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SpecError, TrainingError
from orchestrator.execution import Execution, Watch
from orchestrator.inputs import Surroundings, read_surroundings
from orchestrator.launch.environment import prepare_environment
from orchestrator.planning.numbers import Limits
from orchestrator.planning.resolve import resolve_search
from orchestrator.previews import preview_runs
from orchestrator.recorded.runs import choose_best_run
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.tracking import storage
from orchestrator.tracking.history import read_search
from orchestrator.tracking.lookup import FoundRun, find_run
from orchestrator.tracking.orphans import close_orphans
from orchestrator.tracking.record import SearchRecord

if TYPE_CHECKING:
    from orchestrator.comparison.summary import SearchSummary
    from orchestrator.planning.search_plan import SearchPlan
    from orchestrator.training.preview import Preview

__all__ = [
    "Limits",
    "RunOptions",
    "compare",
    "load_spec",
    "plan",
    "preview",
    "read_record",
    "run",
]

Source = str | Path | Mapping[str, Any] | ExperimentSpec


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How `run` shall train, beside what the spec says."""

    limits: Limits = field(default_factory=Limits)
    in_process: bool = False
    """Train a single run here, without Ray, and let its exceptions through."""
    run_number: int = 1
    """Which run `in_process` trains, as `plan` numbers them."""

    def __post_init__(self) -> None:
        """Refuse a number that nobody would read."""
        if self.run_number != 1 and not self.in_process:
            raise ValueError("run_number goes with in_process")


def plan(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    limits: Limits = Limits(),
) -> "SearchPlan":
    """What `run` would do, with the number that it would get; starts nothing.

    Args:
        source: Path of an experiment file, a map of the same form, or a loaded spec.
        overrides: `key.sub=value`, the value as YAML.
        limits: Shortcuts for debugging.

    Raises:
        SpecError: The spec has mistakes, or does not fit its network or its files.
        InfeasibleError: The machines cannot do it.
    """
    return preview(source, overrides, limits=limits)[0]


def preview(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    limits: Limits = Limits(),
) -> "tuple[SearchPlan, list[Preview]]":
    """What `run` would do, and what torch says of each network, the first run's first.

    Arguments and errors as for `plan`.
    """
    from orchestrator.launch.cluster import look

    spec = _load(source, overrides)
    prepare_environment()
    folder = storage.find_storage(spec.keys.storage_path)
    number = storage.next_number(folder, spec.keys.name)
    around = _look_around(spec, folder)
    planned = resolve_search(
        spec, look(), storage=folder, number=number, inputs=around.inputs, limits=limits
    )
    return planned, preview_runs(spec, planned.runs, sources=around.root)


def run(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    options: RunOptions = RunOptions(),
    watch: Watch | None = None,
) -> SearchRecord:
    """Train everything that an experiment asks for, record it and compare it.

    Args:
        source: Path of an experiment file, a map of the same form, or a loaded spec.
        overrides: `key.sub=value`, the value as YAML.
        options: How to train.
        watch: Somebody who looks on; nobody by default.

    Returns:
        What happened; failed runs among it.

    Raises:
        SpecError: The spec has mistakes; nothing was started.
        InfeasibleError: The machines cannot do it; nothing was started.
        KeyboardInterrupt: Ctrl-C; what was done is recorded.
    """
    spec = _load(source, overrides)
    prepare_environment()
    onlooker = watch or Watch()
    number = options.run_number if options.in_process else None
    kept = storage.find_storage(spec.keys.storage_path)
    if options.limits.fast_dev_run:
        return _try_quickly(spec, options, number, onlooker, _look_around(spec, kept))
    storage.check_storage(kept)
    close_orphans(kept)
    execution = Execution(
        spec,
        kept,
        around=_look_around(spec, kept),
        limits=options.limits,
        only_run=number,
        watch=onlooker,
    )
    return execution.execute(keep=True)


def _try_quickly(
    spec: ExperimentSpec,
    options: RunOptions,
    number: int | None,
    watch: Watch,
    around: Surroundings,
) -> SearchRecord:
    """Train in a folder that goes away, unless a traceback in it is to be read."""
    from orchestrator.launch.cluster import make_temporary_folder

    folder = make_temporary_folder()
    failed = False
    try:
        record = Execution(
            spec,
            folder,
            around=around,
            limits=options.limits,
            only_run=number,
            watch=watch,
        ).execute(keep=False)
        failed = any(run.traceback for run in record.runs)
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)
    return record


def compare(label: str, *, storage_path: str | None = None) -> "SearchSummary":
    """The comparison of a recorded search, as `run` showed it.

    Args:
        label: `NAME`, its latest search, or `NAME#3`.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.

    Raises:
        RecordError: There is no such search.
    """
    from orchestrator.comparison.summary import summarize_search

    return summarize_search(read_record(label, storage_path=storage_path))


def read_record(label: str, *, storage_path: str | None = None) -> SearchRecord:
    """The record of a search; arguments and errors as for `compare`."""
    folder = storage.find_storage(storage_path)
    close_orphans(folder)
    return read_search(storage.find_search(folder, label))


def raise_for_failures(record: SearchRecord) -> None:
    """Raise where every run of a search failed.

    Raises:
        TrainingError: Names the first cause.
    """
    failed = [run for run in record.runs if run.status == "failed"]
    if failed and not any(run.status == "finished" for run in record.runs):
        first = failed[0]
        which = "every run failed; the first, " if len(record.runs) > 1 else "the run failed: "
        raise TrainingError(f"{which}{first.run_id}: {first.error}")


def _look_around(spec: ExperimentSpec, folder: Path) -> Surroundings:
    def find(name: str) -> FoundRun:
        return find_run(folder, name, choose_best=choose_best_run)

    return read_surroundings(spec, find)


def _load(source: Source, overrides: Sequence[str]) -> ExperimentSpec:
    if not isinstance(source, ExperimentSpec):
        return load_spec(source, overrides)
    if overrides:
        raise SpecError(["overrides belong to a path or a map, not to a spec that is loaded"])
    return source
