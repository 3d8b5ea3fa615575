"""Key `resources.visible_devices`: which GPUs of each node a plan may use, lane by lane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.errors import InfeasibleError
from orchestrator.planning.cluster import Cluster, Device, Node, word_count

KEY: Final = "resources.visible_devices"
DECLARE: Final = """ray start --resources='{"gpu_0": 1, "gpu_1": 1}'"""
"""How a node declares its GPUs one by one, for messages; `gpu_` and the number."""


@dataclass(frozen=True, kw_only=True)
class NodeDevices:
    """What a plan may use of one node."""

    node: Node
    devices: tuple[Device, ...]
    """In the order in which workers take them."""
    by_lane: tuple[tuple[Device, ...], ...] = ()
    """Devices of each lane, where they were asked for lane by lane; else empty."""


def find_visible(cluster: Cluster, asked: Any) -> tuple[NodeDevices, ...]:  # noqa: ANN401  three forms
    """The devices of each node that a plan may use.

    Args:
        cluster: The machines, whose devices are known one by one.
        asked: A list of GPU numbers or UUIDs, a list of such lists, one per lane, or a map from
            the name of a node to either; None for every device, free ones before held ones.

    Raises:
        InfeasibleError: A device or a node is not there.
    """
    if asked is None:
        return tuple(NodeDevices(node=node, devices=node.devices) for node in cluster.nodes)
    if isinstance(asked, Mapping):
        return tuple(
            _read(_find_node(cluster, name), entries, f"{KEY}.{name}")
            for name, entries in asked.items()
        )
    return tuple(_read(node, asked, KEY) for node in cluster.nodes if node.gpus)


def check_pins(cluster: Cluster, asked: Any) -> None:  # noqa: ANN401  three forms
    """Refuse a pin that could not be kept.

    Raises:
        InfeasibleError: There is no GPU, or none is known one by one; says how it would be.
    """
    if asked is not None and not cluster.gpus:
        raise InfeasibleError(f"{KEY}: {_machines(cluster)} no GPU; leave it out")
    if asked is not None and not cluster.knows_devices:
        raise InfeasibleError(
            f"{KEY}: the nodes of {cluster.address} do not declare their GPUs one by one, so "
            f"that another run could be given the same; start each with {DECLARE}, as "
            f"cluster.yaml does, or leave the key out"
        )


def _read(node: Node, entries: Sequence[Any], key: str) -> NodeDevices:
    if isinstance(entries[0], Sequence) and not isinstance(entries[0], str):
        lanes = tuple(_find_all(node, lane, key) for lane in entries)
        found = tuple(dict.fromkeys(device for lane in lanes for device in lane))
        return NodeDevices(node=node, devices=found, by_lane=lanes)
    return NodeDevices(node=node, devices=_find_all(node, entries, key))


def _find_all(node: Node, entries: Sequence[Any], key: str) -> tuple[Device, ...]:
    found = tuple(_find(node, one, key) for one in entries)
    if len(set(found)) < len(found):
        raise InfeasibleError(
            f"{key}: {', '.join(map(str, entries))} names a GPU of {_place(node)} twice"
        )
    return found


def _find(node: Node, asked: int | str, key: str) -> Device:
    """The device of a number, a UUID, or the beginning of one."""
    text = str(asked)
    found = [
        device
        for device in node.devices
        if text == device.index or (text.startswith("GPU-") and device.uuid.startswith(text))
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(device.index for device in node.devices) or "none"
    uuids = "" if not text.startswith("GPU-") else f" ({_uuids(node)})"
    how = "is not there" if not found else "means several"
    raise InfeasibleError(
        f"{key}: GPU {text} {how}; {_place(node)} has {word_count(node.gpus, 'GPU')}: "
        f"{there}{uuids}"
    )


def _find_node(cluster: Cluster, name: str) -> Node:
    found = [node for node in cluster.nodes if node.is_called(name)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(node.name for node in cluster.nodes)
    how = "no node is called so" if not found else f"{len(found)} nodes are called so"
    raise InfeasibleError(f"{KEY}.{name}: {how}; there is {there}")


def _uuids(node: Node) -> str:
    return ", ".join(device.uuid or "UUID not known" for device in node.devices)


def _place(node: Node) -> str:
    return f"node {node.name}" if node.node_id else "this machine"


def _machines(cluster: Cluster) -> str:
    return "the cluster has" if cluster.address else "this machine has"
