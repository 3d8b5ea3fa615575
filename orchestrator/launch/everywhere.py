"""The nodes of a joined cluster: a question to each, and which of them are still there."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator.errors import InfeasibleError
from orchestrator.launch.notice import list_draining
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.lanes import LanePlan
from orchestrator.specs.addresses import check_address
from orchestrator.tracking.mirror import address_of, open_store
from orchestrator.tracking.object_store import ObjectStore

_Answer = TypeVar("_Answer")
_WATCH_EVERY_S: Final = 2.0
_WORKER_CLASS: Final = "RayTrainWorker"
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
    """Tells when a node is gone on which workers train.

    Args:
        cluster: The machines that they were placed on.
        find_nodes: Ray's name of each node that they are on to that of the machine, and whether
            all lanes have come up; until then any node may be one that Ray has chosen.
    """

    def __init__(
        self, cluster: Cluster, find_nodes: Callable[[], tuple[Mapping[str, str], bool]]
    ) -> None:
        self._planned = {node.node_id: node.name for node in cluster.nodes}
        self._find_nodes = find_nodes
        self._asked = time.monotonic()
        self.has_begun = False
        """Whether some lane has come up."""

    def find_lost(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """The nodes that are gone, and those that will go; asks Ray now and then.

        Returns:
            As `find_nodes` has them.
        """
        if time.monotonic() - self._asked < _WATCH_EVERY_S:
            return {}, {}
        import ray

        used, is_all = self._find_nodes()
        self.has_begun = self.has_begun or bool(used)
        if is_all:
            self._planned = {}
        names = {**self._planned, **used}
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        draining = list_draining() & alive
        self._asked = time.monotonic()
        return (
            {node: name for node, name in names.items() if node not in alive},
            {node: name for node, name in names.items() if node in draining},
        )


def word_shortage(lanes: LanePlan) -> str:
    """What keeps every lane from coming up on a Ray that others use; empty where nothing does.

    Args:
        lanes: What this driver waits for.
    """
    import ray

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    actors = ray._private.state.actors(job_id=job).values()
    if any(_is_starting(actor) for actor in actors):
        # Some lane has room, and starts its processes.
        return ""
    free, there = ray.available_resources(), ray.cluster_resources()
    # Lanes of one worker that are not placed one by one begin together.
    together = lanes.lanes if lanes.workers == 1 and not lanes.seats else 1
    runs = "a run needs" if together == 1 else f"{together} runs at a time need"
    needs = {"CPU": lanes.cpus_per_worker, "GPU": lanes.gpus_per_worker}
    for kind, each in needs.items():
        need, left = each * lanes.workers * together, free.get(kind, 0.0)
        if need > left:
            of = f"{left:g} of {there.get(kind, 0.0):g} {kind}s are free"
            return f"waiting for room: {of}, and {runs} {need:g}"
    return ""


def _is_starting(actor: Mapping[str, Any]) -> bool:
    """Whether it is a lane's worker that has been placed, and not one of former lanes."""
    return bool(actor["ActorClassName"] == _WORKER_CLASS and actor["State"] != "DEAD")


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


def try_store(address: str, mark: str) -> str:
    """Why a node cannot work on an object store; empty where it can. Asked of other nodes.

    Args:
        address: Of the storage.
        mark: Name of a file that the driver has put there.
    """
    try:
        store = ObjectStore(check_address(address))
        store.check(writes=True)
        if not store.find_sizes([mark]):
            return "it does not see what the driver writes there"
    except (InfeasibleError, ValueError) as error:
        return str(error)
    return ""


@contextmanager
def marked(address: str) -> Iterator[str]:
    """A file in an object store, for as long as the block lasts, that every node should see.

    Yields:
        Its name.
    """
    store, name = open_store(address), f".seen-{uuid.uuid4().hex}"
    store.put_text(name, "seen")
    try:
        yield name
    finally:
        store.delete(name)


def refuse_unshared(cluster: Cluster, lanes: LanePlan, folder: Path) -> None:
    """Refuse a storage that nodes that may train do not share.

    Args:
        cluster: The machines.
        lanes: What is trained on them.
        folder: The storage, absolute, or a working copy of one in an object store.

    Raises:
        InfeasibleError: Names the nodes that do not see it, and the way out.
    """
    store = address_of(folder)
    # The one node of a joined Ray has the driver's disk, and its own credentials.
    if not cluster.address or (len(cluster.nodes) == 1 and not store):
        return
    named = {seat.node_id for lane in lanes.seats for seat in lane}
    nodes = [
        node
        for node in cluster.nodes
        if (node.node_id in named if named else node.cpus >= lanes.cpus_per_worker)
    ]
    if store:
        _refuse_without_store(nodes, store)
        return
    blind = find_blind_nodes(nodes, folder)
    if blind:
        raise InfeasibleError(
            f"storage_path: {folder} is not seen on {', '.join(node.name for node in blind)}, "
            f"where workers would write their results to disks of their own; set storage_path "
            f"or ORCHESTRATOR_STORAGE to a folder that all nodes share, or to s3://BUCKET/NAME"
        )


def _refuse_without_store(nodes: Sequence[Node], store: str) -> None:
    with marked(store) as mark:
        answers = ask_every_node(nodes, try_store, store, mark)
    for node, answer in zip(nodes, answers, strict=True):
        if answer != "":
            why = answer or "it does not answer"
            raise InfeasibleError(
                f"{node.name}: {why}; on a node that counts with which its Ray was started, "
                "not what this command has"
            )
