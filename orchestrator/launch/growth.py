"""Room that lanes lack: what an autoscaler may still add, and how Ray is asked for it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import yaml

from orchestrator.errors import InfeasibleError
from orchestrator.launch.devices import Patience
from orchestrator.launch.environment import HEAD_FILE
from orchestrator.planning.cluster import Device, Node, word_count
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.placement import place_again

GROWTH_S: Final = 900.0
"""How long a node may take until it has joined: a machine, its installation, its Ray."""
_POLL_S: Final = 0.5
_ASK_EVERY_S: Final = 1.0
_REGROW_EVERY_S: Final = 15.0
"""From a placement to the next question for room, at least: each costs seconds."""
_GATHER_S: Final = 15.0
"""How long more room is waited for once there is some: machines come one by one."""


def find_growth(present: int) -> tuple[Node, ...]:
    """The nodes that the autoscaler of the cluster on whose head this runs may still add.

    Args:
        present: Nodes that are there, the head among them.
    """
    path = HEAD_FILE.expanduser()
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if config.get("provider", {}).get("type") in (None, "local"):
        # Machines that one has are not made.
        return ()
    types = config.get("available_node_types", {})
    room = config.get("max_workers", 0) - (present - 1)
    nodes = [
        _read_type(name, values)
        for name, values in types.items()
        if name != config.get("head_node_type")
        for _ in range(values.get("max_workers", 0))
    ]
    return tuple(nodes[: max(0, room)])


def _read_type(name: str, values: dict[str, Any]) -> Node:
    resources = values.get("resources", {})
    gpus = int(resources.get("GPU", 0))
    return Node(
        name=f"{name} (to be added)",
        cpus=int(resources.get("CPU", 0)),
        gpus=gpus,
        # As cluster.yaml lets them declare theirs; they are planned anew once they are there.
        devices=tuple(Device(index=str(index)) for index in range(gpus)),
    )


class Demand:
    """Room asked of Ray, for which an autoscaler adds machines; it ends with this process.

    Args:
        lanes: What each consists of.
        sizes: Workers of each room.
    """

    def __init__(self, lanes: LanePlan, sizes: Sequence[int]) -> None:
        from ray.util.placement_group import placement_group

        strategy = lanes.placement.upper()
        self._groups = [placement_group([_bundle(lanes)] * size, strategy) for size in sizes]
        self._found = 0.0

    def count_rooms(self) -> int:
        """How many there are, once it is all, or some and no more in a while; 0 before."""
        found = sum(group.wait(0) for group in self._groups)
        if found and not self._found:
            self._found = time.monotonic()
        waited = time.monotonic() - self._found
        return found if found == len(self._groups) or waited > _GATHER_S else 0

    def close(self) -> None:
        """Ask for it no more."""
        import ray
        from ray.util.placement_group import remove_placement_group

        if ray.is_initialized():
            for group in self._groups:
                remove_placement_group(group)


def make_room(lanes: LanePlan, patience: Patience) -> None:
    """Wait until the autoscaler has made room for a lane, as long as there is patience.

    Args:
        lanes: Planned for what there is and what may be added.
        patience: How long, and who is told.
    """
    size = lanes.min_workers or lanes.workers
    demand = Demand(lanes, [size] * (lanes.lanes + lanes.missing_lanes))
    deadline = time.monotonic() + patience.seconds
    room = word_count(lanes.lanes * size, "worker")
    try:
        while not demand.count_rooms() and (left_s := deadline - time.monotonic()) > 0:
            what = f"the autoscaler makes room for {room}"
            patience.tell(what, left_s, then="taking what there is")
            time.sleep(_POLL_S)
    finally:
        demand.close()


class Regrowth:
    """Asks for what lanes lack, and tells when there is room for some of it.

    Args:
        lanes: As they are trained on now.
        count_waiting: How many runs wait for a lane.
    """

    def __init__(self, lanes: LanePlan, count_waiting: Callable[[], int]) -> None:
        self.room = lanes.lanes, lanes.workers
        """Lanes, and workers of each, that there is room for."""
        self._lanes = lanes
        self._count_waiting = count_waiting
        self._demand: Demand | None = None
        self._next = time.monotonic() + _REGROW_EVERY_S

    def find_room(self) -> str:
        """For how much there is room now, in words; empty while it is no more than there is."""
        lacks = self._lanes.missing or self._lanes.missing_lanes
        if not lacks or time.monotonic() < self._next:
            return ""
        self._next = time.monotonic() + _ASK_EVERY_S
        sizes = self._list_missing()
        if not sizes:
            # A lane that no run waits for would stand idle.
            self.close()
            return ""
        self._demand = self._demand or Demand(self._lanes, sizes)
        rooms = min(self._demand.count_rooms(), len(sizes))
        if not rooms:
            return ""
        self.close()
        self._next = time.monotonic() + _REGROW_EVERY_S
        return self._compare(rooms)

    def close(self) -> None:
        """Ask no more."""
        if self._demand is not None:
            self._demand.close()
            self._demand = None

    def _list_missing(self) -> list[int]:
        """Workers of each room to ask for: one for every rank, or for every lane."""
        if self._lanes.missing:
            return [1] * self._lanes.missing
        count = min(self._lanes.missing_lanes, self._count_waiting())
        return [self._lanes.workers] * count

    def _compare(self, rooms: int) -> str:
        from orchestrator.launch.cluster import look

        there = self._lanes
        lanes, workers = there.lanes, there.workers
        room = (lanes, workers + rooms) if there.missing else (lanes + rooms, workers)
        try:
            grown = place_again(look(), there, room)
        except InfeasibleError:
            # Others were quicker, or something has gone: whoever watches the nodes will tell.
            return ""
        self.room = grown.lanes, grown.workers
        if grown.workers > workers:
            return f"there is room for {grown.workers} of {grown.request.workers} workers again"
        if grown.workers == workers and grown.lanes > lanes:
            return f"there is room for {word_count(grown.lanes, 'run')} at a time"
        # What Ray has found is not what the plan may use.
        return ""


def _bundle(lanes: LanePlan) -> dict[str, float]:
    """What Ray reserves for one worker."""
    bundle = {"CPU": float(lanes.cpus_per_worker)}
    return bundle | ({"GPU": float(lanes.gpus_per_worker)} if lanes.gpus_per_worker else {})
