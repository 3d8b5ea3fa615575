"""GPUs one by one: which there are here, which a worker sees, and who holds them.

The one place that reads and writes CUDA_VISIBLE_DEVICES. On a cluster each node declares a
token for each of its GPUs, a custom resource `gpu_0: 1`; a search takes the tokens of the GPUs
that its plan names, all at once, so that no other search of ours is given them meanwhile.
"""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from orchestrator.planning.cluster import Device

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
INDEX_VARIABLE: Final = "ORCHESTRATOR_DEVICE_INDEX"
"""In a worker among several: which of the GPUs that it sees is its own."""
_TOKEN: Final = re.compile(r"gpu_(\d+)")
_LISTED: Final = re.compile(r"GPU (?P<index>\d+): .*?(?:\(UUID: (?P<uuid>[^)]+)\))?\s*")


def _not_told(what: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long something is waited for, and who is told meanwhile."""

    seconds: float = 0.0
    told: Callable[[str], None] = _not_told
    """Called about twice a second with what is waited for, and what is done then."""

    def tell(self, what: str, left_s: float, *, then: str = "giving up") -> None:
        """Tell what is waited for, and what is done in so many seconds."""
        minutes, seconds = divmod(round(max(0.0, left_s)), 60)
        self.told(f"{what}; {then} in {minutes}:{seconds:02d}")


def find_here() -> tuple[Device, ...]:
    """The GPUs of this machine that CUDA_VISIBLE_DEVICES leaves to this process, in its order.

    Their numbers are those of nvidia-smi, whatever is visible.
    """
    visible = os.environ.get(VARIABLE)
    program = shutil.which("nvidia-smi")
    if program is None or (visible is not None and not visible.strip()):
        return ()
    said = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    matches = [_LISTED.fullmatch(line) for line in said.stdout.splitlines()]
    present = [
        Device(index=match["index"], uuid=match["uuid"] or "") for match in matches if match
    ]
    if visible is None:
        return tuple(present)
    named = [_find(present, entry.strip()) for entry in visible.split(",")]
    # As CUDA reads it: what follows an entry that means nothing is not visible.
    return tuple(device for device in itertools.takewhile(bool, named) if device)


def _find(present: Sequence[Device], entry: str) -> Device | None:
    """The GPU that an entry of the variable means; None where it means none, or several."""
    if entry.startswith("MIG-"):
        return Device(index=entry, uuid=entry)
    found = [
        device
        for device in present
        if entry == device.index or (entry.startswith("GPU-") and device.uuid.startswith(entry))
    ]
    return found[0] if len(found) == 1 else None


def read_tokens(
    resources: Mapping[str, float], labels: Mapping[str, str], holders: Mapping[str, str]
) -> tuple[Device, ...]:
    """The GPUs that a node of a cluster declares one by one, in the order of their numbers.

    Args:
        resources: What the node offers, in Ray's words.
        labels: Its labels; `gpu_0` may hold the UUID of that GPU.
        holders: Token to the search that holds it.
    """
    indices = sorted(int(match[1]) for match in map(_TOKEN.fullmatch, resources) if match)
    return tuple(
        Device(
            index=str(index),
            uuid=labels.get(f"gpu_{index}", ""),
            holder=holders.get(f"gpu_{index}", ""),
        )
        for index in indices
    )


def token(device: str) -> str:
    """The name of the resource that stands for a GPU."""
    return f"gpu_{device}"


@contextmanager
def leave_visible(devices: Sequence[str]) -> Iterator[None]:
    """Let the processes that are started in the block see these GPUs alone; all where none."""
    if not devices:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = ",".join(devices)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def pin(devices: Sequence[str], position: int, *, alone: bool) -> int:
    """Let this process see its lane's GPUs, before CUDA starts in it.

    Args:
        devices: Of each of the job's workers on this node, in the order of their ranks.
        position: Which of them this is.
        alone: Whether it trains its runs alone, and sees its own GPU only.

    Returns:
        The number of its GPU among those that it sees.
    """
    visible = [devices[position]] if alone else list(dict.fromkeys(devices))
    os.environ[VARIABLE] = ",".join(visible)
    return visible.index(devices[position])
