"""GPUs of a joined cluster, held for one search: all that its plan names, or none of them.

Held are the tokens by which the nodes declare their GPUs one by one, in a placement group that
ends with the driver, however that ends.
"""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray.util.placement_group import (
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from orchestrator.errors import InfeasibleError
from orchestrator.launch.cluster import look
from orchestrator.launch.devices import Patience, token
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.refusals import explain_held, find_held

_PREFIX: Final = "orchestrator: "
_POLL_S: Final = 1
"""Ray takes whole seconds, and a fraction for none."""
_AT_ONCE_S: Final = 5.0
"""What is free is given within milliseconds; a loaded machine takes longer."""


def read_holders() -> dict[str, dict[str, str]]:
    """Ray's name of each node to its tokens that another search of ours holds, and which."""
    found: dict[str, dict[str, str]] = {}
    for group in placement_group_table().values():
        name = group["name"]
        if group["state"] != "CREATED" or not name.startswith(_PREFIX) or name.endswith(_own()):
            continue
        for index, bundle in group["bundles"].items():
            node = found.setdefault(group["bundles_to_node_id"][index], {})
            node.update(dict.fromkeys(bundle, group["name"].removeprefix(_PREFIX)))
    return found


@contextmanager
def reserved(plan: LanePlan, label: str, patience: Patience) -> Iterator[None]:
    """Hold the GPUs of a plan for as long as the block lasts; nothing where none is named.

    Args:
        plan: The lanes.
        label: Of the search, for others that find a GPU held.
        patience: How long GPUs that others hold are waited for.

    Raises:
        InfeasibleError: A GPU is held by another search; names both.
    """
    bundles = _bundles(plan)
    if not bundles:
        yield
        return
    here = f"{label} {_own()}"
    group = placement_group(
        [dict.fromkeys(map(token, devices), 1.0) for devices in bundles.values()],
        strategy="SPREAD",
        name=f"{_PREFIX}{here}",
        bundle_label_selector=[{"ray.io/node-id": node} for node in bundles],
    )
    try:
        _wait_for(group, plan, patience)
        yield
    finally:
        if ray.is_initialized():
            remove_placement_group(group)


def _own() -> str:
    """How the name of what this process holds ends."""
    return f"(process {os.getpid()} on {socket.gethostname()})"


def _bundles(plan: LanePlan) -> Mapping[str, set[str]]:
    """Ray's name of each node to the GPUs that the lanes use there."""
    found: dict[str, set[str]] = {}
    for lane in plan.seats:
        for seat in lane:
            if seat.node_id:
                found.setdefault(seat.node_id, set()).add(seat.device)
    return found


def _wait_for(group: Any, plan: LanePlan, patience: Patience) -> None:  # noqa: ANN401  Ray's handles are untyped
    begun = time.monotonic()
    while not group.wait(_POLL_S):
        passed = time.monotonic() - begun
        if passed > max(patience.seconds, _AT_ONCE_S):
            raise InfeasibleError(explain_held(find_held(look(), plan)))
        if patience.seconds:
            held = "; ".join(find_held(look(), plan)) or "waiting for GPUs"
            patience.tell(held, patience.seconds - passed)
