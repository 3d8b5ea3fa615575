"""What the machines offer, as plain numbers and in words."""

from dataclasses import dataclass


def word_count(number: int, noun: str) -> str:
    """`1 GPU`, `2 GPUs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine."""

    name: str
    cpus: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """All machines that a plan may use."""

    nodes: tuple[Node, ...]
    address: str = ""
    """Address of the running Ray cluster; empty where Ray is started here for this command."""
    lost_gpus: str = ""
    """GPUs that are there and cannot be used, and why, in words; empty where there are none."""

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)
