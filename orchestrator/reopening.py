"""A recorded search as a plan again, so that what is left of it can be trained.

Nothing is decided anew but the lanes: settings, seeds and numbers are the recorded ones, and
the user's own code is the copy that was made when the search began.
"""

from dataclasses import replace
from pathlib import Path

from orchestrator.errors import RecordError
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.fingerprint import environment_of, fingerprint_run
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.placement import place_lanes
from orchestrator.planning.resolve import SOURCES, default_store, describe_cluster
from orchestrator.planning.run_plan import RunPlan
from orchestrator.planning.search_plan import RERUN, SearchPlan
from orchestrator.reuse import mark_done
from orchestrator.sources import digest_package
from orchestrator.tracking import storage as places
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mirror import bring_records
from orchestrator.tracking.owner import is_owned


def reopen_search(label: str, cluster: Cluster, *, storage: Path) -> SearchPlan:
    """The plan of a recorded search, with what of it is done.

    Args:
        label: `NAME`, its latest search, or `NAME#3`.
        cluster: The machines at hand.
        storage: Folder of all experiments.

    Raises:
        RecordError: There is no such search, somebody drives it, or what computes has changed.
        InfeasibleError: The machines are too few.
    """
    folder = places.find_search(storage, label)
    if is_owned(folder):
        raise RecordError(f"{label}: a process drives it at this moment; wait for it")
    bring_records(folder)
    return reopen_folder(folder, cluster)


def reopen_folder(folder: Path, cluster: Cluster) -> SearchPlan:
    """The plan of the search in a folder, whoever drives it; errors as for `reopen_search`."""
    history = SearchHistory(folder)
    history.follow()
    plan = move_to(read_plan(history), folder)
    marked = mark_done(plan, folder.parents[1])
    for run in marked.missing:
        check_fingerprint(run, history)
        check_sources(run)
    lanes = _place_again(plan, cluster, runs=len(marked.missing))
    # The recorded notes are there already.
    notes = tuple(dict.fromkeys(marked.notes))
    return replace(marked, lanes=lanes, cluster_text=describe_cluster(cluster), notes=notes)


def read_plan_of(search: Path) -> SearchPlan:
    """The plan of the search in a folder; errors as for `read_plan`."""
    history = SearchHistory(search)
    history.follow()
    return read_plan(history)


def read_plan(history: SearchHistory) -> SearchPlan:
    """The plan of a recorded search.

    Raises:
        RecordError: Another version recorded it.
    """
    try:
        return SearchPlan.from_json({**history.plan, "done": {}, "continues": False})
    except (TypeError, KeyError) as error:
        raise RecordError(
            f"{history.folder} was recorded by another version of orchestrator ({error}); "
            "`orchestrator run` trains it under the next number"
        ) from error


def move_to(plan: SearchPlan, folder: Path) -> SearchPlan:
    """The plan with its paths where they are now: the storage may have been moved."""
    runs = tuple(move_run(run, folder) for run in plan.runs)
    is_usual = plan.store_uri == default_store(plan.folder)
    store = default_store(folder) if is_usual else plan.store_uri
    return replace(plan, folder=folder, runs=runs, store_uri=store)


def move_run(run: RunPlan, folder: Path) -> RunPlan:
    """The plan of a run of the search in a folder, with its paths where they are now."""
    before, now = Path(run.place.folder).parents[2], folder.parents[1]

    def move(path: str) -> str:
        """What lay in the storage lies in it still, unless it was left behind."""
        if not path or not Path(path).is_relative_to(before):
            return path
        moved = now / Path(path).relative_to(before)
        return str(moved) if moved.exists() else path

    place = replace(
        run.place,
        folder=str(folder / run.run_id.rpartition("/")[2]),
        sources=str(folder / SOURCES) if run.place.sources else "",
        weights=move(run.place.weights),
        extends=move(run.place.extends),
    )
    return replace(run, place=place)


def check_fingerprint(run: RunPlan, history: SearchHistory) -> None:
    """Refuse to go on with other numbers.

    Raises:
        RecordError: Names what differs.
    """
    changed = [
        f"the installed package {name} has changed"
        for name, digest in run.numbers.installed.items()
        if digest_package(name) != digest
    ]
    if not changed and _fingerprint(run)[0] == run.fingerprint:
        return
    here = environment_of(run.numbers)
    # timm's version was among the facts alone, once.
    there = {"timm": history.facts.get("timm"), **history.plan.get("environment", {})}
    changed += [
        f"{name} was {there.get(name) or 'none'}, is {here[name] or 'none'}"
        if name != "source"
        else "the source that trains has changed"
        for name in here
        if here[name] != (there.get(name) or "")
    ]
    changed = changed or ["fingerprints are made in another way now"]
    raise RecordError(
        f"{run.run_id}: what is left would be other numbers ({'; '.join(changed)}); "
        "`orchestrator run` trains it under the next number"
    )


def check_sources(run: RunPlan) -> None:
    """Refuse to train what cannot be imported any more.

    Raises:
        RecordError: The copy of the user's own code is gone.
    """
    folder = run.place.sources
    if folder and not Path(folder).is_dir():
        raise RecordError(
            f"{run.run_id}: its copy of the user's own code, {folder}, is gone; put it back, "
            "or train the experiment anew with `orchestrator run`"
        )


def _fingerprint(run: RunPlan) -> tuple[str, str]:
    return fingerprint_run(
        run.numbers,
        select=run.select,
        metric=run.metric,
        maximize=run.maximize,
        data_root=run.place.data_root,
    )


def plan_again(run: RunPlan, search: Path, cluster: Cluster, *, storage: Path) -> SearchPlan:
    """A search of one recorded run, under a name of its own: NAME.rerun.

    Args:
        run: As it was recorded.
        search: Folder of the search that it belongs to.
        cluster: The machines at hand.
        storage: Folder of all experiments.

    Raises:
        RecordError: Another version recorded it, or the code that it ran is gone.
        InfeasibleError: The machines are too few, or the storage cannot be written.
    """
    plan = read_plan_of(search)
    lanes = _place_again(plan, cluster, runs=1)
    check_sources(run)
    # The experiment's own name goes on to mean its own searches.
    again_name = f"{plan.name.removesuffix(RERUN)}{RERUN}"
    folder = storage / again_name / str(places.claim_number(storage, again_name))
    name = run.run_id.rpartition("/")[2]
    # Of what computes it now, which may not be what computed it then.
    installed = {package: digest_package(package) for package in run.numbers.installed}
    run = replace(run, numbers=replace(run.numbers, installed=installed))
    fingerprint, lineage = _fingerprint(run)
    run_id = f"{again_name}/{folder.name}/{name}"
    # From its first epoch on, also where the recorded one went on from another.
    place = replace(run.place, extends="")
    again = replace(run, run_id=run_id, fingerprint=fingerprint, lineage=lineage, place=place)
    return replace(
        move_to(replace(plan, runs=(again,)), folder),
        name=again_name,
        number=int(folder.name),
        settings=(run.setting,),
        baseline=None,
        seeds=(run.numbers.seed,),
        lanes=lanes,
        cluster_text=describe_cluster(cluster),
        environment=environment_of(run.numbers),
    )


def _place_again(plan: SearchPlan, cluster: Cluster, *, runs: int) -> LanePlan:
    """Lanes of the recorded kind, on the machines that there are now."""
    most = max(1, min(runs, plan.max_concurrent or runs))
    return place_lanes(cluster, plan.lanes.request, most=most)
