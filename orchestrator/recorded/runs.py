"""From what a user types to a recorded run and its plan."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RecordError
from orchestrator.planning.run_plan import RunPlan
from orchestrator.reopening import move_run
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.lookup import FoundRun, find_run
from orchestrator.tracking.mirror import bring_records, bring_run
from orchestrator.tracking.orphans import close_orphans
from orchestrator.tracking.record import RunRecord, SearchRecord


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run as it was found, and what it was."""

    found: FoundRun
    plan: RunPlan
    """Its place names the folders where they are now."""


def find_recorded(text: str, *, storage_path: str | None = None) -> RecordedRun:
    """The run that a user means, and its plan.

    Args:
        text: MLflow's id or its beginning, `NAME@best`, or `NAME/setting,seed=2`.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.

    Raises:
        RecordError: No run, or more than one, is meant; or another version recorded it.
    """
    folder = open_storage(storage_path)
    close_orphans(folder)
    found = find_run(folder, text, choose_best=choose_best_run)
    history = SearchHistory(found.search.folder)
    history.follow()
    try:
        plan = RunPlan.from_json(history.runs[found.run.run_id].plan)
    except TypeError as error:
        raise RecordError(
            f"{found.run.run_id} was recorded by another version of orchestrator ({error}); "
            "use that one"
        ) from error
    # The storage may have been moved since, or lie in an object store.
    plan = move_run(plan, found.search.folder)
    bring_records(found.search.folder)
    bring_run(Path(plan.place.folder))
    return RecordedRun(found=found, plan=plan)


def choose_best_run(search: SearchRecord) -> RunRecord | None:
    """Of the setting with the best mean, the run with the first seed: never a lucky one."""
    from orchestrator.comparison.summary import best_setting, summarize_search

    best = best_setting(summarize_search(search))
    if best is None:
        return None
    return next(
        r for r in search.runs if r.setting == best.setting and r.seed == search.seeds[0]
    )
