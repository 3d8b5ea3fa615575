"""Composes the stages: what the command line and notebooks call.

spec = load_spec("experiments/digits-label-smoothing.yaml")
record = run(spec)
record.to_pandas()
compare("digits-label-smoothing").sentence
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import execution
from orchestrator.errors import SpecError
from orchestrator.execution import Execution, RunOptions
from orchestrator.inputs import Surroundings, read_surroundings
from orchestrator.launch.environment import prepare_environment
from orchestrator.planning.numbers import Limits
from orchestrator.previews import preview_runs
from orchestrator.recorded.runs import choose_best_run
from orchestrator.reopening import reopen_folder, reopen_search
from orchestrator.reuse import decide_search
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.tracking import storage
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.history import read_search
from orchestrator.tracking.lookup import FoundRun, find_run
from orchestrator.tracking.orphans import close_orphans
from orchestrator.tracking.record import SearchRecord
from orchestrator.watch import Watch

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
    "resume",
    "run",
]

Source = str | Path | Mapping[str, Any] | ExperimentSpec


def plan(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    limits: Limits = Limits(),
    fresh: bool = False,
) -> "SearchPlan":
    """What `run` would do, with the number that it would get; starts nothing.

    Args:
        source: Path of an experiment file, a map of the same form, or a loaded spec.
        overrides: `key.sub=value`, the value as YAML.
        limits: Shortcuts for debugging.
        fresh: Train everything, also what is there already.

    Raises:
        SpecError: The spec has mistakes, or does not fit its network or its files.
        InfeasibleError: The machines cannot do it.
    """
    return preview(source, overrides, limits=limits, fresh=fresh)[0]


def preview(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    limits: Limits = Limits(),
    fresh: bool = False,
) -> "tuple[SearchPlan, list[Preview]]":
    """What `run` would do, and what torch says of each network, the first run's first.

    Arguments and errors as for `plan`.
    """
    from orchestrator.launch.cluster import look
    from orchestrator.launch.everywhere import refuse_unshared

    spec = _load(source, overrides)
    prepare_environment()
    folder = open_storage(spec.keys.storage_path, tries=not limits.fast_dev_run)
    around = _look_around(spec, folder)
    cluster = look()
    planned = decide_search(
        spec, cluster.grown(), storage=folder, inputs=around.inputs, limits=limits, fresh=fresh
    )
    refuse_unshared(cluster, planned.lanes, folder)
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
    is_kept = not options.limits.fast_dev_run
    kept = open_storage(spec.keys.storage_path, writes=is_kept)
    if not is_kept:
        return _try_quickly(spec, options, onlooker, _look_around(spec, kept))
    close_orphans(kept)
    training = Execution(
        spec,
        kept,
        around=_look_around(spec, kept),
        options=options,
        watch=onlooker,
    )
    return training.execute(keep=True)


def resume(
    label: str,
    *,
    storage_path: str | None = None,
    watch: Watch | None = None,
    wait_min: float = 0.0,
) -> SearchRecord:
    """Go on with a search that was interrupted, or of which runs failed, as it was recorded.

    Finished runs are kept, interrupted ones go on from their last checkpoints, the rest begins.

    Args:
        label: `NAME`, its latest search, or `NAME#3`.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.
        watch: Somebody who looks on; nobody by default.
        wait_min: Minutes for which GPUs that other searches hold are waited for.

    Returns:
        What happened, before the interruption too.

    Raises:
        RecordError: There is no such search, or what is left would be other numbers.
        InfeasibleError: The machines cannot do it.
        KeyboardInterrupt: Ctrl-C; what was done is recorded.
    """
    from orchestrator.launch.cluster import look

    prepare_environment()
    folder = open_storage(storage_path, writes=True)
    close_orphans(folder)
    cluster = look()
    plan = reopen_search(label, cluster.grown(), storage=folder)
    return execution.resume(
        plan,
        cluster,
        watch or Watch(),
        again=lambda: reopen_folder(plan.folder, cluster.grown()),
        wait_min=wait_min,
    )


def _try_quickly(
    spec: ExperimentSpec,
    options: RunOptions,
    watch: Watch,
    around: Surroundings,
) -> SearchRecord:
    """Train in a folder that goes away, unless a traceback in it is to be read."""
    from orchestrator.launch.temporary import keep_folder, make_temporary_folder

    folder = make_temporary_folder()
    failed = False
    try:
        record = Execution(
            spec,
            folder,
            around=around,
            options=options,
            watch=watch,
        ).execute(keep=False)
        failed = any(run.traceback for run in record.runs)
    finally:
        if failed:
            keep_folder(folder)
        else:
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
    folder = open_storage(storage_path)
    close_orphans(folder)
    return read_search(storage.find_search(folder, label))


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
