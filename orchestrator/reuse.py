"""What of a plan need not be trained: runs that are there already, in whole or in part.

A search is idempotent: the same spec again is answered from its records, one more value or seed
trains only what is missing, and a search that was interrupted goes on.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import InfeasibleError
from orchestrator.planning.checkpoints import is_open_ended
from orchestrator.planning.cluster import Cluster, word_count
from orchestrator.planning.facts import Inputs
from orchestrator.planning.names import name_setting
from orchestrator.planning.numbers import Limits
from orchestrator.planning.resolve import default_store, resolve_search
from orchestrator.planning.run_plan import RunPlan
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.tracking import storage as places
from orchestrator.tracking.finished import FinishedRuns
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mirror import is_kept, list_kept, note_place
from orchestrator.tracking.owner import is_owned

_MOST_SEARCHES: Final = 50
"""Of one name that are looked through for one that asked the same."""
_QUESTION: Final = (
    "name",
    "description",
    "metric",
    "maximize",
    "select",
    "settings",
    "baseline",
    "seeds",
    "caveat",
)


def decide_search(  # noqa: PLR0913  keywords
    spec: ExperimentSpec,
    cluster: Cluster,
    *,
    storage: Path,
    inputs: Inputs,
    limits: Limits,
    fresh: bool = False,
    number: int | None = None,
) -> SearchPlan:
    """Decide everything that a search will do, and what of it is there already.

    Args:
        spec: What was asked.
        cluster: The machines at hand.
        storage: Folder that holds all experiments, absolute.
        inputs: What was read of files before.
        limits: Shortcuts for debugging.
        fresh: Whether to train what is there already, too.
        number: Of the search, where it is known; None continues the latest of this name, or
            takes the next.

    Raises:
        SpecError: Some setting is refused.
        InfeasibleError: The machines are too few, or the number means another search.
    """

    def resolve(number: int) -> SearchPlan:
        plan = resolve_search(
            spec, cluster, storage=storage, number=number, inputs=inputs, limits=limits
        )
        return replace(plan, notes=(*plan.notes, *note_place(storage)))

    plan = resolve(number or places.next_number(storage, spec.keys.name))
    if fresh or limits.fast_dev_run:
        return plan
    same = find_same_search(plan, storage) if number is None else None
    marked = mark_done(plan if same is None else resolve(same), storage)
    if marked.continues and same is None:
        marked = _check_number(marked, is_known=number is not None)
    notes = () if marked.continues else _latest_notes(marked, storage)
    return replace(marked, notes=(*marked.notes, *notes, *_twin_notes(marked)))


def _check_number(plan: SearchPlan, *, is_known: bool) -> SearchPlan:
    """Let nobody go on with a search of another question, begun under a number just now."""
    if not is_known:
        # A number that is claimed after this will be another.
        return replace(plan, continues=False)
    if not _asks_the_same(plan.to_json(), _read(plan.folder).plan):
        label = f"{plan.name}#{plan.number}"
        raise InfeasibleError(f"{label} has become another search meanwhile; run it again")
    return plan


def find_same_search(plan: SearchPlan, storage: Path) -> int | None:
    """Number of the search that asked the same: the latest, or an earlier one that is whole.

    Args:
        plan: Under any number.
        storage: Folder of all experiments.
    """
    asked = plan.to_json()
    numbers = places.list_begun(storage, plan.name)[-_MOST_SEARCHES:]
    for number in reversed(numbers):
        history = _read(storage / plan.name / str(number))
        if not history.plan or not _asks_the_same(asked, history.plan):
            continue
        whole = all(run.status == "finished" for run in history.runs.values())
        if (whole or number == numbers[-1]) and not is_owned(history.folder):
            return number
    return None


def _read(folder: Path) -> SearchHistory:
    history = SearchHistory(folder)
    history.follow()
    return history


def _latest_notes(plan: SearchPlan, storage: Path) -> Iterator[str]:
    """Say what the latest search of this name does, or has left undone."""
    numbers = [n for n in places.list_begun(storage, plan.name) if n != plan.number]
    if not numbers:
        return
    history = _read(storage / plan.name / str(numbers[-1]))
    label = f"{plan.name}#{numbers[-1]}"
    if not history.plan:
        return
    if is_owned(history.folder):
        if _asks_the_same(plan.to_json(), history.plan):
            yield f"{label} asks the same and is trained at this moment: this trains it again"
    elif history.status == "stopped":
        yield f"{label} was interrupted: `orchestrator resume {label}` goes on with it"


def _twin_notes(plan: SearchPlan) -> Iterator[str]:
    """Say which settings cannot differ in any number."""
    first: dict[str, str] = {}
    for run in plan.runs[:: len(plan.seeds)]:
        name = name_setting(run.setting)
        other = first.setdefault(run.fingerprint, name)
        if run.fingerprint and other != name:
            yield f"{name} trains the same numbers as {other}"


def mark_done(plan: SearchPlan, storage: Path) -> SearchPlan:
    """The plan with what need not be trained, and what can go on from a shorter training.

    Args:
        plan: Under its number, whose folder may hold finished runs.
        storage: Folder of all experiments.
    """
    history = _read(plan.folder)
    finished = FinishedRuns(storage)
    done: dict[str, str] = {}
    for run in plan.runs:
        if _has_finished(run, history):
            done[run.run_id] = run.run_id
        elif (same := finished.find(run.fingerprint)) is not None:
            done[run.run_id] = same.run_id
    longer = _list_longer(plan, done, finished)
    runs = tuple(
        replace(run, place=replace(run.place, extends=longer[run.run_id][1]))
        if run.run_id in longer and is_open_ended(run.numbers)
        else run
        for run in plan.runs
    )
    missing = len(plan.runs) - len(done)
    return replace(
        plan,
        runs=runs,
        done=done,
        continues=bool(history.plan),
        lanes=plan.lanes.cut(min(plan.lanes.lanes, max(1, missing))),
        notes=(*plan.notes, *_cost_notes(plan, longer)),
    )


def _has_finished(run: RunPlan, history: SearchHistory) -> bool:
    """Whether a search has trained a run, to these very numbers."""
    own = history.runs.get(run.run_id)
    return (
        own is not None
        and own.status == "finished"
        and own.plan.get("fingerprint") == run.fingerprint
        and is_kept(Path(run.place.folder) / "last.safetensors")
    )


def _asks_the_same(plan: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    fingerprints = [run["fingerprint"] for run in plan["runs"]]
    there = [run.get("fingerprint") for run in recorded["runs"]]
    return all(fingerprints) and fingerprints == there and _asked(plan) == _asked(recorded)


def _asked(plan: Mapping[str, Any]) -> str:
    folder, uri = Path(plan["folder"]), plan["store_uri"]
    # The usual store moves with the storage.
    store = "" if uri == default_store(folder) else uri
    return json.dumps([store, *(plan[key] for key in _QUESTION)])


def _list_longer(
    plan: SearchPlan, done: Mapping[str, str], finished: FinishedRuns
) -> dict[str, tuple[int, str]]:
    """Missing run to the epochs of one that is its like but shorter, and that one's folder."""
    found = {}
    for run in plan.runs:
        if run.run_id in done:
            continue
        for epochs, shorter in finished.find_shorter(run.lineage, run.numbers.training.epochs):
            kept = list_kept(shorter.folder / "checkpoints")
            has_checkpoint = any(fnmatch(name, "step-*.pt") for name in kept)
            if has_checkpoint or not is_open_ended(run.numbers):
                found[run.run_id] = epochs, str(shorter.folder)
                break
    return found


def _cost_notes(plan: SearchPlan, longer: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """Say what more epochs cost: those that come on top, or all of them."""
    for name, runs in _by_schedule(plan.runs, longer).items():
        count = word_count(len(runs), "run")
        epochs = sum(run.numbers.training.epochs for run in runs)
        there = sum(longer[run.run_id][0] for run in runs)
        if is_open_ended(runs[0].numbers):
            go = "goes" if len(runs) == 1 else "go"
            yield f"{count} {go} on from one of fewer epochs: {epochs - there} epochs to train"
        else:
            yield (
                f"{count} cannot go on from one of fewer epochs: under {name} every rate "
                f"depends on the number of epochs, so that all {epochs} are trained"
            )


def _by_schedule(
    runs: tuple[RunPlan, ...], longer: Mapping[str, tuple[int, str]]
) -> dict[str, list[RunPlan]]:
    found: dict[str, list[RunPlan]] = {}
    for run in runs:
        if run.run_id in longer:
            found.setdefault(run.numbers.schedule.name, []).append(run)
    return found
