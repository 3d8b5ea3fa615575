"""The nodes of a joined cluster: a question to each, and which of them are still there."""

import time
import uuid
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.placement import LanePlan

_Answer = TypeVar("_Answer")
_WATCH_EVERY_S: Final = 2.0
_PATIENCE_S: Final = 120.0
"""How long a node may take; its first process may have to import everything."""


def ask_every_node(
    nodes: Sequence[Node], question: Callable[..., _Answer], *arguments: str
) -> "list[_Answer | None]":
    """Call a function once on every node of the joined cluster; None where one does not answer.

    Args:
        nodes: Which nodes.
        question: A function that can be imported there.
        arguments: Its arguments.
    """
    import ray

    ask = ray.remote(num_cpus=0, max_retries=0)(question)
    answers = [
        ask.options(label_selector={"ray.io/node-id": node.node_id}).remote(*arguments)
        for node in nodes
    ]
    ready, _ = ray.wait(answers, num_returns=len(answers), timeout=_PATIENCE_S)
    found: list[_Answer | None] = []
    for answer in answers:
        try:
            found.append(ray.get(answer) if answer in ready else None)
        except ray.exceptions.RayError:
            found.append(None)
    return found


class NodeWatch:
    """Tells when a node of a joined cluster is gone under the workers of this driver's lanes.

    Ray Train would start them again by itself, but only once there is room for all of them,
    for which it waits in silence and without end.

    Args:
        cluster: The machines on which the lanes were placed.
        lanes: What is trained on them.
    """

    def __init__(self, cluster: Cluster, lanes: LanePlan) -> None:
        self._alive = {node.node_id for node in cluster.nodes} if cluster.address else set()
        self._workers = lanes.lanes * lanes.workers
        self._asked = time.monotonic()

    def find_lost(self) -> str:
        """The name of a node that is gone; empty while all are there. Asks Ray now and then.

        One that had no worker of ours, as when an autoscaler takes an idle one away, is none.
        """
        if not self._alive or time.monotonic() - self._asked < _WATCH_EVERY_S:
            return ""
        import ray

        self._asked = time.monotonic()
        nodes = {node["NodeID"]: node for node in ray.nodes()}
        alive = {node_id for node_id, node in nodes.items() if node["Alive"]}
        gone, self._alive = self._alive - alive, alive
        if not gone or _count_workers(alive) == self._workers:
            return ""
        lost = next(iter(gone))
        # Ray forgets those that have been gone for long.
        return str(nodes[lost]["NodeManagerHostname"]) if lost in nodes else lost


def _count_workers(nodes: Set[str]) -> int:
    """How many workers of this driver's Ray Train jobs live on certain nodes.

    Ray Train keeps them to itself; Ray's table of actors knows where they are.
    """
    import ray

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    actors = ray._private.state.actors(job_id=job, actor_state_name="ALIVE").values()
    return sum(
        actor["ActorClassName"] == "RayTrainWorker" and actor["Address"]["NodeID"] in nodes
        for actor in actors
    )


def find_blind_nodes(nodes: Sequence[Node], folder: Path) -> list[Node]:
    """The nodes that do not see what is written to a folder here.

    Args:
        nodes: Which nodes.
        folder: Absolute; where it is not there yet, the nearest one above it counts.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
    mark = nearest / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    try:
        seen = ask_every_node(nodes, is_file, str(mark))
    finally:
        with suppress(OSError):
            mark.unlink()
    return [node for node, sees in zip(nodes, seen, strict=True) if not sees]


def is_file(path: str) -> bool:
    """Whether a file is there; asked of other nodes."""
    return Path(path).is_file()


def refuse_unshared(cluster: Cluster, lanes: LanePlan, folder: Path) -> None:
    """Refuse a storage folder that is another one on nodes that may train.

    Args:
        cluster: The machines.
        lanes: What is trained on them.
        folder: The storage, absolute.

    Raises:
        InfeasibleError: Names the nodes that do not see it, and the way out.
    """
    if not cluster.address or len(cluster.nodes) == 1:
        return
    named = {seat.node_id for lane in lanes.seats for seat in lane}
    nodes = [
        node
        for node in cluster.nodes
        if (node.node_id in named if named else node.cpus >= lanes.cpus_per_worker)
    ]
    blind = find_blind_nodes(nodes, folder)
    if blind:
        raise InfeasibleError(
            f"storage_path: {folder} is not seen on {', '.join(node.name for node in blind)}, "
            f"where workers would write their results to disks of their own; set storage_path "
            f"or ORCHESTRATOR_STORAGE to a folder that all nodes share"
        )
