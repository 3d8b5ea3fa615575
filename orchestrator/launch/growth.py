"""What an autoscaler may still add to a cluster, and how it is brought to do so."""

import time
from typing import Any, Final

import yaml

from orchestrator.launch.devices import Patience
from orchestrator.launch.environment import HEAD_FILE
from orchestrator.planning.cluster import Device, Node, word_count
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.placement import place_lanes

GROWTH_S: Final = 900.0
"""How long a node may take until it has joined: a machine, its installation, its Ray."""
_POLL_S: Final = 0.5
_REGROW_EVERY_S: Final = 15.0
"""From a placement to the next one with more workers, at least: each costs seconds."""
_GLANCE_S: Final = 0.001


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


def make_room(lanes: LanePlan, patience: Patience) -> None:
    """Wait until the autoscaler has made room for all lanes, as long as there is patience.

    Args:
        lanes: Planned for what there is and what may be added.
        patience: How long, and who is told.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    workers = lanes.lanes * lanes.workers
    # A demand that ends with this process, however that ends.
    group = placement_group([_bundle(lanes)] * workers, strategy=lanes.placement.upper())
    deadline = time.monotonic() + patience.seconds
    try:
        while not group.wait(_POLL_S) and (left_s := deadline - time.monotonic()) > 0:
            room = word_count(workers, "worker")
            what = f"the autoscaler makes room for {room}"
            patience.tell(what, left_s, then="taking what there is")
    finally:
        if ray.is_initialized():
            remove_placement_group(group)


class Regrowth:
    """Asks for a worker that elastic lanes lack, and tells when there is room for it.

    Args:
        lanes: As they are trained on now.
    """

    def __init__(self, lanes: LanePlan) -> None:
        self._lanes = lanes
        self._group: Any = None
        self._next = time.monotonic() + _REGROW_EVERY_S

    def find_room(self) -> str:
        """How many workers a lane could have now, in words; empty while it cannot have more."""
        if not self._lanes.missing or time.monotonic() < self._next:
            return ""
        from ray.util.placement_group import placement_group, remove_placement_group

        from orchestrator.launch.cluster import look

        if self._group is None:
            # A demand, for which an autoscaler adds a machine; it ends with this process.
            self._group = placement_group([_bundle(self._lanes)])
        if not self._group.wait(_GLANCE_S):
            return ""
        remove_placement_group(self._group)
        self._group, self._next = None, time.monotonic() + _REGROW_EVERY_S
        wanted = self._lanes.request
        grown = place_lanes(look(), wanted, most=self._lanes.lanes)
        if grown.workers <= self._lanes.workers:
            # What Ray has found is not what the plan may use.
            return ""
        return f"there is room for {grown.workers} of {wanted.workers} workers again"

    def close(self) -> None:
        """Ask no more."""
        import ray
        from ray.util.placement_group import remove_placement_group

        if self._group is not None and ray.is_initialized():
            remove_placement_group(self._group)


def _bundle(lanes: LanePlan) -> dict[str, float]:
    """What Ray reserves for one worker."""
    bundle = {"CPU": float(lanes.cpus_per_worker)}
    return bundle | ({"GPU": float(lanes.gpus_per_worker)} if lanes.gpus_per_worker else {})
