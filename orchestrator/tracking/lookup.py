"""From what a user types to a run: an MLflow id, `NAME@best`, or `NAME/setting,seed=2`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RecordError
from orchestrator.tracking import storage
from orchestrator.tracking.history import read_search
from orchestrator.tracking.record import RunRecord, SearchRecord
from orchestrator.tracking.replay import read_ids

_SHORTEST_PREFIX = 4


@dataclass(frozen=True)
class FoundRun:
    """A recorded run and where it was found."""

    run: RunRecord
    search: SearchRecord
    mlflow_id: str
    """Empty where MLflow does not know it yet."""


def find_run(
    folder: Path, text: str, *, choose_best: Callable[[SearchRecord], RunRecord | None]
) -> FoundRun:
    """The run that a user means.

    Args:
        folder: Storage of all experiments.
        text: MLflow's id or its unique beginning; `NAME@best`, `NAME#3@best`;
            `NAME/label_smoothing=0.1,seed=2`, the parts in any order.
        choose_best: Which run of a search `@best` is; None for none.

    Raises:
        RecordError: No run, or more than one, is meant.
    """
    if text.endswith("@best"):
        search = read_search(storage.find_search(folder, text.removesuffix("@best")))
        best = choose_best(search)
        if best is None:
            raise RecordError(f"{text}: no setting of {search.label} has finished on all its seeds")
        return _found(best, search)
    name, slash, rest = text.partition("/")
    if slash:
        search = read_search(storage.find_search(folder, name))
        return _found(_match(search, rest), search)
    return _find_by_id(folder, text)


def _match(search: SearchRecord, text: str) -> RunRecord:
    wanted = set(filter(None, text.rpartition("/")[2].split(",")))
    matching = [run for run in search.runs if wanted <= set(_parts(run))]
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(run.run_id.rpartition("/")[2] for run in (matching or search.runs)[:4])
    what = f"{len(matching)} runs are meant" if matching else "no such run"
    raise RecordError(f"{search.label}/{text}: {what}; there are {names}, …")


def _parts(run: RunRecord) -> list[str]:
    return run.run_id.rpartition("/")[2].split(",")


def _find_by_id(folder: Path, prefix: str) -> FoundRun:
    found = []
    for search in storage.list_searches(folder):
        ids = read_ids(search) or {"runs": {}}
        found += [
            (search, run_id, identifier)
            for run_id, identifier in ids["runs"].items()
            if identifier.startswith(prefix)
        ]
    if len(prefix) < _SHORTEST_PREFIX or len(found) != 1:
        many = f"{len(found)} runs begin with it" if found else "no run has that id"
        raise RecordError(
            f"{prefix!r}: {many}; a run is an MLflow id or its unique beginning, NAME@best, "
            "or NAME/label_smoothing=0.1,seed=2"
        )
    path, run_id, _ = found[0]
    search = read_search(path)
    return _found(next(run for run in search.runs if run.run_id == run_id), search)


def _found(run: RunRecord, search: SearchRecord) -> FoundRun:
    ids = read_ids(search.folder) or {"runs": {}}
    return FoundRun(run, search, ids["runs"].get(run.run_id, ""))
