"""What a running cluster must grant before a plan begins: GPUs, a shared folder, more nodes."""

from dataclasses import replace

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.placement import place_again
from orchestrator.planning.refusals import explain_held, find_held
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.watch import Watch


def refuse_cluster(plan: SearchPlan, cluster: Cluster, *, wait_min: float) -> None:
    """Refuse, before anything is recorded, what a running cluster could not do.

    Raises:
        InfeasibleError: Another search holds a GPU and nobody wants to wait for it, or a node
            does not see the storage.
    """
    if not plan.missing or not cluster.address:
        return
    held = find_held(cluster, plan.lanes)
    if held and not wait_min:
        raise InfeasibleError(explain_held(held))
    from orchestrator.launch.everywhere import refuse_unshared

    refuse_unshared(cluster, plan.lanes, plan.folder.parents[1])


def settle(
    plan: SearchPlan, cluster: Cluster, watch: Watch, *, wait_min: float
) -> tuple[Cluster, SearchPlan]:
    """Let an autoscaler add what a plan needs, and place the plan on what is there first.

    Raises:
        InfeasibleError: There is no room for a single lane after all, or a new node does not
            see the storage.
    """
    if not cluster.growth:
        return cluster, plan
    from orchestrator.launch.cluster import look
    from orchestrator.launch.devices import Patience
    from orchestrator.launch.everywhere import refuse_unshared
    from orchestrator.launch.growth import GROWTH_S, make_room

    try:
        # Whatever can begin does; the search asks for the rest while it trains.
        lanes = place_again(cluster, plan.lanes)
    except InfeasibleError:
        patience = Patience(seconds=max(GROWTH_S, 60 * wait_min), told=watch.waiting)
        make_room(plan.lanes, patience)
        cluster = look()
        # A GPU that is held is waited for, or refused by its holder's name, when all begins.
        lanes = place_again(cluster, plan.lanes, takes_held=True)
    refuse_unshared(cluster, lanes, plan.folder.parents[1])
    return cluster, replace(plan, lanes=lanes)
