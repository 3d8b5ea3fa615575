"""Verb `verify`: from what a user types to the promises that are tried on it."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import RecordError, SpecError
from orchestrator.inputs import read_surroundings
from orchestrator.launch.environment import prepare_environment
from orchestrator.planning.numbers import Limits
from orchestrator.previews import preview_runs
from orchestrator.recorded.runs import RecordedRun, choose_best_run, find_recorded
from orchestrator.reopening import read_plan_of
from orchestrator.reuse import decide_search
from orchestrator.specs.files import suggest_file
from orchestrator.specs.load import load_spec
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.lookup import FoundRun, find_run
from orchestrator.verification import Check, Verification


@contextmanager
def verification(
    source: str, overrides: Sequence[str] = (), *, storage_path: str | None = None
) -> Iterator[tuple[str, Mapping[str, Callable[[], Check]]]]:
    """What can be tried of the promises about numbers, on a spec's first run or a recorded run.

    Args:
        source: Path of an experiment file, or a run as other commands take it.
        overrides: `key.sub=value`, the value as YAML; for a file.
        storage_path: Where a run is looked for; ORCHESTRATOR_STORAGE or `./runs` by default.

    Yields:
        What is tried on, in words, and each check by what it promises.

    Raises:
        SpecError: The spec has mistakes, or does not fit its network or its files.
        RecordError: There is no such run.
        TrainingError: A training fails.
    """
    from orchestrator.launch.cluster import look
    from orchestrator.launch.temporary import make_temporary_folder

    prepare_environment()
    cluster = look()
    if Path(source).is_file() or source.endswith((".yaml", ".yml")):
        spec = load_spec(source, overrides)
        kept = open_storage(storage_path or spec.keys.storage_path)
        around = read_surroundings(spec, lambda name: _find(kept, name))
        planned = decide_search(
            spec, cluster, storage=kept, inputs=around.inputs, limits=Limits(), fresh=True
        )
        preview_runs(spec, planned.runs[:1], sources=around.root)
        run = planned.runs[0]
        run = replace(run, place=replace(run.place, sources=around.root))
    else:
        if overrides:
            raise SpecError(["overrides belong to a file, not to a recorded run"])
        recorded = _find_recorded(source, storage_path)
        planned, run = read_plan_of(recorded.found.search.folder), recorded.plan
    folder = make_temporary_folder()
    try:
        plan = replace(planned, runs=(run,), settings=(run.setting,), baseline=None)
        yield run.run_id, Verification(plan, cluster, folder).checks()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_recorded(source: str, storage_path: str | None) -> RecordedRun:
    """As `find_recorded`; a file may have been meant, too."""
    try:
        return find_recorded(source, storage_path=storage_path)
    except RecordError as error:
        near = suggest_file(Path.cwd() / source)
        if not near and not source.endswith((".yaml", ".yml")):
            raise
        raise RecordError(f"{source}: no such file{near}\nnor a run: {error}") from error


def _find(folder: Path, name: str) -> FoundRun:
    return find_run(folder, name, choose_best=choose_best_run)
