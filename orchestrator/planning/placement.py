"""How many lanes fit the machines, and what each consists of."""

from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster, Node, word_count


@dataclass(frozen=True, kw_only=True)
class LanePlan:
    """The lanes of a search: all alike."""

    lanes: int
    """Runs trained at a time."""
    workers: int
    """Ranks of one lane, which train one run together."""
    cpus_per_worker: int
    """CPUs reserved for a worker, and its threads."""
    gpus_per_worker: int
    """GPUs reserved for a worker; 0 trains it on CPUs."""
    device: Literal["cpu", "cuda"]
    deterministic: Literal["true", "warn", "false"]
    idle_gpus: int
    """GPUs that no lane uses."""


def place_lanes(
    cluster: Cluster,
    *,
    workers: int,
    cpus_per_worker: int,
    gpus_per_worker: int,
    deterministic: Literal["true", "warn", "false"],
    most: int,
) -> LanePlan:
    """Fit as many lanes as are useful.

    Args:
        cluster: The machines.
        workers: Ranks of one lane.
        cpus_per_worker: CPUs of one rank.
        gpus_per_worker: GPUs of one rank; with 0 the lane trains on CPUs.
        deterministic: A property of the lane's processes.
        most: Lanes that could be used at all.

    Raises:
        InfeasibleError: Not even one lane fits; names the number to change.
    """
    slots = sum(_slots(node, cpus_per_worker, gpus_per_worker) for node in cluster.nodes)
    if slots < workers:
        raise InfeasibleError(
            _explain(cluster, workers, cpus_per_worker, gpus_per_worker, slots)
        )
    lanes = min(slots // workers, most)
    return LanePlan(
        lanes=lanes,
        workers=workers,
        cpus_per_worker=cpus_per_worker,
        gpus_per_worker=gpus_per_worker,
        device="cuda" if gpus_per_worker else "cpu",
        deterministic=deterministic,
        idle_gpus=cluster.gpus - lanes * workers * gpus_per_worker,
    )


def _slots(node: Node, cpus_per_worker: int, gpus_per_worker: int) -> int:
    by_cpu = node.cpus // cpus_per_worker
    return min(by_cpu, node.gpus // gpus_per_worker) if gpus_per_worker else by_cpu


def _explain(cluster: Cluster, workers: int, cpus: int, gpus: int, slots: int) -> str:
    if slots:
        each = f"{word_count(cpus, 'CPU')}" + (
            f" and {word_count(gpus, 'GPU')}" if gpus else ""
        )
        return (
            f"resources.num_workers: {workers} workers of {each} each do not fit on "
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


def _offer(cluster: Cluster) -> str:
    machines = "this machine" if not cluster.address else word_count(len(cluster.nodes), "node")
    cpus, gpus = word_count(cluster.cpus, "CPU"), word_count(cluster.gpus, "GPU")
    return f"{machines} with {cpus} and {gpus}"
