"""What a search's lanes consist of: what was asked of each, and what there is room for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Where a worker is placed."""

    node: str
    """Name of the node."""
    node_id: str
    """Ray's name for it; empty on the machine where Ray is started for the command."""
    device: str
    """The number of the GPU that the worker computes on."""


@dataclass(frozen=True, kw_only=True)
class LaneRequest:
    """What is asked of every lane."""

    workers: int
    """Ranks of one lane, which train one run together."""
    cpus_per_worker: int
    """CPUs reserved for a worker, and its threads."""
    gpus_per_worker: float
    """GPUs reserved for a worker, or a share of one; 0 trains it on CPUs."""
    deterministic: Literal["true", "warn", "false"]
    placement: Literal["pack", "spread"] = "pack"
    """Whether the workers of a lane share a node where they can, or avoid to."""
    visible: Any = None
    """`resources.visible_devices`, as it was asked; None for every GPU."""
    min_workers: int | None = None
    """Ranks that an elastic lane has at least, where there is no room for all; None where it
    waits for them."""


@dataclass(frozen=True, kw_only=True)
class LanePlan(LaneRequest):
    """The lanes of a search: all alike."""

    lanes: int
    """Runs trained at a time."""
    device: Literal["cpu", "cuda"]
    idle_gpus: int
    """GPUs that no lane uses."""
    backend: Literal["gloo", "nccl"] = "gloo"
    """What the workers of a lane speak to one another with."""
    seats: tuple[tuple[Seat, ...], ...] = ()
    """Of each lane, where each of its workers is placed; empty on CPUs, and where a cluster's
    GPUs are known by their number alone."""
    missing: int = 0
    """Ranks of each lane, an elastic one, for which there is no room now."""
    missing_lanes: int = 0
    """Lanes that were planned beside these, and for which there is no room now."""

    @property
    def request(self) -> LaneRequest:
        """What was asked of every lane, to place it anew."""
        asked = {field.name: getattr(self, field.name) for field in fields(LaneRequest)}
        return LaneRequest(**{**asked, "workers": self.workers + self.missing})

    def cut(self, lanes: int, *, workers: int | None = None) -> "LanePlan":
        """Fewer lanes of this kind, or lanes of so few workers."""
        fewer = replace(self, lanes=lanes, seats=self.seats[:lanes], missing_lanes=0)
        if workers is None:
            return fewer
        seats = tuple(lane[:workers] for lane in fewer.seats)
        return replace(fewer, workers=workers, seats=seats, min_workers=None, missing=0)


def group_by_node(seats: Sequence[Seat]) -> Mapping[str, tuple[str, ...]]:
    """Ray's name of each node to the GPUs of its workers there, in the order of the workers."""
    found: dict[str, list[str]] = {}
    for seat in seats:
        found.setdefault(seat.node_id, []).append(seat.device)
    return {node: tuple(devices) for node, devices in found.items()}
