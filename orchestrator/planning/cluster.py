"""What the machines offer, as plain numbers and in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


def word_count(number: float, noun: str) -> str:
    """`1 GPU`, `2 GPUs`, `0.5 GPUs`."""
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


def word_devices(devices: Sequence[str]) -> str:
    """`GPU 0`, `GPUs 0, 2`."""
    return f"{'GPU' if len(devices) == 1 else 'GPUs'} {', '.join(devices)}"


@dataclass(frozen=True, kw_only=True)
class Device:
    """One GPU of a node."""

    index: str
    """Its number there, as nvidia-smi counts."""
    uuid: str = ""
    """Empty where it is not known."""
    holder: str = ""
    """The search of ours that holds it; empty where none does."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine."""

    name: str
    cpus: int
    gpus: int
    node_id: str = ""
    """Ray's name for it; empty where Ray is not started yet."""
    address: str = ""
    """Its IP address; empty where it does not matter."""
    devices: tuple[Device, ...] = ()
    """Its GPUs, one by one; empty where only their number is known."""
    labels: tuple[tuple[str, str], ...] = ()
    """What it was labelled with when it joined."""

    def is_called(self, name: str) -> bool:
        """Whether a name means this node: its host name, address, or a label `key=value`."""
        key, _, value = name.partition("=")
        return name in (self.name, self.address) or (key, value) in self.labels


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """All machines that a plan may use."""

    nodes: tuple[Node, ...]
    growth: tuple[Node, ...] = ()
    """Nodes that an autoscaler may still add."""
    address: str = ""
    """Address of the running Ray cluster; empty where Ray is started here for this command."""
    lost_gpus: str = ""
    """GPUs that are there and cannot be used, and why, in words; empty where there are none."""
    added: int = 0
    """How many of the nodes are not there yet, in a cluster as it may grow."""
    rehearses: bool = False
    """Whether what is planned for GPUs is computed on CPUs, to try its placement."""

    def grown(self) -> "Cluster":
        """The same with all that an autoscaler may still add."""
        nodes = (*self.nodes, *self.growth)
        return replace(self, nodes=nodes, growth=(), added=len(self.growth))

    def word_nodes(self) -> str:
        """`3 nodes`, `1 node and 2 that may be added`."""
        there = word_count(len(self.nodes) - self.added, "node")
        return f"{there} and {self.added} that may be added" if self.added else there

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def knows_devices(self) -> bool:
        """Whether every GPU is known one by one, so that a worker can be given this or that."""
        return all(len(node.devices) == node.gpus for node in self.nodes)
