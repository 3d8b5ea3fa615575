"""Why nothing fits, with the one number to change; why something has to wait."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.planning.cluster import Cluster, word_count, word_devices

if TYPE_CHECKING:
    from orchestrator.planning.lanes import LanePlan


def explain_misfit(
    cluster: Cluster,
    *,
    workers: int,
    cpus: int,
    gpus: float,
    slots: int,
    key: str = "num_workers",
) -> str:
    """Why not even one lane fits.

    Args:
        cluster: The machines.
        workers: Ranks of the lane.
        cpus: CPUs of one rank.
        gpus: GPUs of one rank, or a share of one.
        slots: Ranks that would fit.
        key: Of `resources`, where the number of ranks is from.
    """
    if slots:
        each = f"{word_count(cpus, 'CPU')}" + (
            f" and {word_count(gpus, 'GPU')}" if gpus else ""
        )
        return (
            f"resources.{key}: {workers} workers of {each} each do not fit on "
            f"{_offer(cluster)}; set it to {slots} at most"
        )
    largest_cpus = max((node.cpus for node in cluster.nodes), default=0)
    largest_gpus = max((node.gpus for node in cluster.nodes), default=0)
    if gpus > largest_gpus:
        return (
            f"resources.gpus_per_worker: no machine has {word_count(gpus, 'GPU')} "
            f"({_offer(cluster)}); set it to {largest_gpus} at most"
        )
    if cpus > largest_cpus:
        return (
            f"resources.cpus_per_worker: no machine has {word_count(cpus, 'CPU')} "
            f"({_offer(cluster)}); set it to {largest_cpus} at most"
        )
    fitting = max(node.cpus for node in cluster.nodes if node.gpus >= gpus)
    return (
        f"resources.cpus_per_worker: the machines with {word_count(gpus, 'GPU')} have "
        f"{word_count(fitting, 'CPU')} at most; set it to {fitting} at most (got {cpus})"
    )


def find_held(cluster: Cluster, lanes: "LanePlan") -> list[str]:
    """Which GPUs of a plan other searches hold, in words: a sentence for each of them."""
    holders = {
        (node.node_id, device.index): device.holder
        for node in cluster.nodes
        for device in node.devices
    }
    found: dict[tuple[str, str], list[str]] = {}
    for seat in dict.fromkeys(seat for lane in lanes.seats for seat in lane):
        if holder := holders.get((seat.node_id, seat.device)):
            found.setdefault((holder, seat.node), []).append(seat.device)
    return [
        f"{word_devices(devices)} of {node} {'is' if len(devices) == 1 else 'are'} held by "
        f"{holder}"
        for (holder, node), devices in found.items()
    ]


def explain_held(held: Sequence[str]) -> str:
    """Why a plan cannot begin, and what to do."""
    what = "; ".join(held) or "Ray does not give the GPUs that the plan names"
    return f"{what}; wait with --wait MINUTES, or name others in resources.visible_devices"


def _offer(cluster: Cluster) -> str:
    machines = "this machine" if not cluster.address else cluster.word_nodes()
    cpus, gpus = word_count(cluster.cpus, "CPU"), word_count(cluster.gpus, "GPU")
    return f"{machines} with {cpus} and {gpus}"
