"""From what a user types to a run: an MLflow id, `NAME@best`, or `NAME/setting,seed=2`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RecordError
from orchestrator.planning.names import shorten_keys, word_value
from orchestrator.tracking import storage
from orchestrator.tracking.history import read_search
from orchestrator.tracking.mlflow_ids import read_ids
from orchestrator.tracking.record import RunRecord, SearchRecord

_SHORTEST_PREFIX = 4
_MOST_NAMED = 4


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
            raise RecordError(
                f"{text}: no setting of {search.label} has finished on all its seeds"
            )
        return _found(best, search)
    if "/" in text:
        label, parts = _split_number(text)
        search = read_search(storage.find_search(folder, label))
        return _found(_match(search, parts, text), search)
    return _find_by_id(folder, text)


def _split_number(text: str) -> tuple[str, str]:
    """`NAME/3/parts`, as a run id has it, means `NAME#3`; `NAME/parts` its latest search."""
    name, _, rest = text.partition("/")
    number, slash, parts = rest.partition("/")
    return (f"{name}#{number}", parts) if slash else (name, rest)


def _match(search: SearchRecord, parts: str, text: str) -> RunRecord:
    wanted = set(filter(None, parts.split(",")))
    matching = [run for run in search.runs if wanted <= _parts(run)]
    if len(matching) == 1:
        return matching[0]
    named = matching or search.runs
    names = ", ".join(_folder_name(run) for run in named[:_MOST_NAMED])
    more = ", …" if len(named) > _MOST_NAMED else ""
    what = f"{len(matching)} runs are meant" if matching else "no such run"
    raise RecordError(f"{text}: {what}; there are {names}{more}")


def _parts(run: RunRecord) -> set[str]:
    """Every way to write a part: each key in full and by its last part, and the folder's."""
    words = {key: word_value(value) for key, value in run.setting.items()}
    short = dict(zip(shorten_keys(list(words)), words.values(), strict=True))
    pairs = {f"{key}={value}" for named in (words, short) for key, value in named.items()}
    return {*pairs, f"seed={run.seed}", *_folder_name(run).split(",")}


def _folder_name(run: RunRecord) -> str:
    return run.run_id.rpartition("/")[2]


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
        many = (
            f"it begins the ids of {len(found)} runs"
            if len(found) > 1
            else "no run has that id"
        )
        if len(prefix) < _SHORTEST_PREFIX:
            many = f"an id's beginning has {_SHORTEST_PREFIX} letters at least"
        raise RecordError(
            f"{prefix!r}: {many}; a run is an MLflow id or its unique beginning, NAME@best, "
            "or NAME/label_smoothing=0.1,seed=2"
        )
    path, run_id, _ = found[0]
    record = read_search(path)
    return _found(next(run for run in record.runs if run.run_id == run_id), record)


def _found(run: RunRecord, search: SearchRecord) -> FoundRun:
    ids = read_ids(search.folder) or {"runs": {}}
    return FoundRun(run, search, ids["runs"].get(run.run_id, ""))
