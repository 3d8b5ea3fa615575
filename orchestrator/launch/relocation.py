"""Lanes placed anew after a loss, once the machines have room for them again."""

import time
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError
from orchestrator.launch.cluster import look
from orchestrator.launch.devices import Patience
from orchestrator.launch.everywhere import refuse_unshared
from orchestrator.launch.growth import make_room
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.placement import LanePlan, place_lanes

RETURN_S: Final = 900.0
"""How long a machine that is gone is waited for, or another in its place."""
_LOOK_EVERY_S: Final = 2.0


def place_anew(
    lanes: LanePlan, patience: Patience, *, storage: Path
) -> tuple[Cluster, LanePlan]:
    """Lanes of the same kind on the machines that there are now: fewer at a time, if need be.

    Args:
        lanes: What was lost.
        patience: How long room for a single lane is waited for.
        storage: What every node must see; one that has just started may not see it yet.

    Raises:
        InfeasibleError: There is none in that time.
    """
    deadline = time.monotonic() + patience.seconds
    while True:
        cluster = look()
        try:
            placed = place_lanes(cluster, lanes, most=lanes.lanes)
            refuse_unshared(cluster, placed, storage)
        except InfeasibleError as error:
            left_s = deadline - time.monotonic()
            if left_s < 0:
                raise
            patience.told(f"waiting for a machine: {error}", left_s)
            if cluster.growth:
                # No demand, no machine.
                make_room(lanes, Patience(seconds=left_s, told=patience.told))
            time.sleep(_LOOK_EVERY_S)
        else:
            return cluster, placed
