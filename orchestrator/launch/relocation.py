"""Lanes placed anew when machines have gone or come."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError
from orchestrator.launch.cluster import look
from orchestrator.launch.devices import Patience
from orchestrator.launch.everywhere import NodeWatch, refuse_unshared, word_shortage
from orchestrator.launch.growth import Regrowth, make_room
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.placement import place_again

RETURN_S: Final = 900.0
"""How long a machine that is gone is waited for, or another in its place."""
_LOOK_EVERY_S: Final = 2.0
_BEGIN_S: Final = 8.0
"""How long lanes may take to come up until it is asked why."""
_SHORTAGE_EVERY_S: Final = 4.0


class MachineWatch:
    """Tells when the machines under a search have changed, so that its lanes must move.

    Args:
        lanes: As they are trained on now.
        cluster: The machines that they were placed on.
        find_nodes: As for `NodeWatch`.
        count_waiting: How many runs wait for a lane.
    """

    def __init__(
        self,
        lanes: LanePlan,
        cluster: Cluster,
        find_nodes: Callable[[], tuple[Mapping[str, str], bool]],
        count_waiting: Callable[[], int],
    ) -> None:
        self.lost: Mapping[str, str] = {}
        """Ray's name of each node that is gone to that of the machine."""
        self.doomed: Mapping[str, str] = {}
        """Of each that will be taken away, likewise."""
        self._lanes = lanes
        self._next = time.monotonic() + _BEGIN_S
        self._nodes = NodeWatch(cluster, find_nodes)
        self._regrowth = Regrowth(lanes, count_waiting)

    def find_change(self) -> str:
        """What has changed, in words; empty while nothing has. Asks Ray now and then."""
        self.lost, self.doomed = self._nodes.find_lost()
        if self.lost:
            return f"node {' and '.join(self.lost.values())} is gone"
        if self.doomed:
            return f"node {' and '.join(self.doomed.values())} will be taken away"
        return self._regrowth.find_room()

    @property
    def room(self) -> tuple[int, int] | None:
        """Lanes, and workers of each, that there is room for; None where a machine is gone."""
        return None if self.lost or self.doomed else self._regrowth.room

    def find_shortage(self) -> str:
        """What the lanes wait for, in words, now and then; empty once one of them is up."""
        if self._nodes.has_begun or time.monotonic() < self._next:
            return ""
        self._next = time.monotonic() + _SHORTAGE_EVERY_S
        return word_shortage(self._lanes)

    def close(self) -> None:
        """Ask no more."""
        self._regrowth.close()


def place_anew(
    lanes: LanePlan,
    patience: Patience,
    *,
    storage: Path,
    room: tuple[int, int] | None = None,
) -> tuple[Cluster, LanePlan]:
    """Lanes of the same kind on the machines that there are now: fewer at a time, if need be.

    Args:
        lanes: What was lost.
        patience: How long room for a single lane is waited for.
        storage: What every node must see; one that has just started may not see it yet.
        room: As for `place_again`.

    Raises:
        InfeasibleError: There is none in that time.
    """
    deadline = time.monotonic() + patience.seconds
    while True:
        cluster = look()
        try:
            placed = place_again(cluster, lanes, room)
            refuse_unshared(cluster, placed, storage)
        except InfeasibleError as error:
            left_s = deadline - time.monotonic()
            if left_s < 0:
                raise
            patience.tell(f"waiting for a machine: {error}", left_s)
            if cluster.growth:
                # No demand, no machine.
                make_room(lanes, Patience(seconds=left_s, told=patience.told))
            time.sleep(_LOOK_EVERY_S)
        else:
            return cluster, placed
