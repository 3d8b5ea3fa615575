"""Where a worker stands among the others, and how it speaks to the outside.

Training knows this and nothing of Ray: the same code runs on a lane, in the user's own process
and under `torchrun`.
"""

import ctypes
import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import distributed

Verdict = Literal["continue", "stop"]
Report = Callable[[int, Mapping[str, float]], Verdict]
Note = Callable[[Mapping[str, Any]], None]


# Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_KEPT_BYTES: Final = 2**30

_AGREE_EVERY: Final = 32
"""Steps from one question to the next whether several workers shall stop."""
_DEBUG_MODES: Final = {"true": "error", "warn": "warn", "false": "default"}


def _never() -> bool:
    return False


def _unheard(note: Mapping[str, Any]) -> None:
    """Nobody is told; `note` is what there was to tell."""


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Copies of a run's files that outlive the disk of this node.

    All four raise `TrainingError` where they cannot do it.
    """

    keep: Callable[[Path], None]
    """Copy a file of this disk; once it returns, the copy is there."""
    drop: Callable[[Path], None]
    """Remove the copy of a file."""
    names: Callable[[Path], Sequence[str]]
    """Names of the files of a folder that have a copy."""
    bring: Callable[[Path], None]
    """Put the copy of a file onto this disk."""


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """One worker of the ranks that train one assignment."""

    rank: int
    world_size: int
    device: torch.device
    report: Report
    """Called by rank 0 with the epoch, counted from 1, and its metrics. Returns once the report
    is kept; the verdict says whether to go on."""
    stop_requested: Callable[[], bool] = _never
    """Asked between steps; several workers agree on it now and then, and at an epoch's end."""
    note: Note = _unheard
    """Called by rank 0 with what else the records shall hold of the run, as plain JSON values;
    `note` among them says what it is."""
    copies: Copies | None = None
    """None where what is on this disk is safe there, and seen by whoever goes on with a run."""

    def report_epoch(self, epoch: int, metrics: Mapping[str, float]) -> Verdict:
        """Report from rank 0 and bring its verdict to every rank."""
        verdict = self.report(epoch, metrics) if self.rank == 0 else "continue"
        return "stop" if self.agree(verdict == "stop") else "continue"

    def stops_after(self, step: int) -> bool:
        """Whether to stop after this step of an epoch, the same on every rank."""
        if self.world_size == 1:
            return self.stop_requested()
        # To agree is to wait for the device.
        return step % _AGREE_EVERY == 0 and self.agree(self.stop_requested())

    def largest(self, value: int) -> int:
        """The largest of all ranks' values, on every rank."""
        if self.world_size == 1:
            return value
        values = torch.tensor([value], device=self.device)
        distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
        return int(values.item())

    def agree(self, answer: bool) -> bool:
        """Bring rank 0's answer to every rank."""
        if self.world_size == 1:
            return answer
        flag = torch.tensor([answer], dtype=torch.int32, device=self.device)
        distributed.broadcast(flag, src=0)
        return bool(flag.item())


def describe_device(device: torch.device) -> dict[str, str]:
    """Versions and the device's name, as plain text for the records."""
    cuda = device.type == "cuda"
    return {
        # A str of its own kind, whose unpickling would import torch elsewhere: 3 s.
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda or "",
        "cudnn": str(torch.backends.cudnn.version() or "") if cuda else "",
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
    }


def describe_build() -> dict[str, Any]:
    """What torch was built for, and whether a GPU can be used; plain values."""
    return {
        "cuda": torch.version.cuda or "",
        "cudnn": str(torch.backends.cudnn.version() or ""),
        "cuda_available": torch.cuda.is_available(),
    }


def describe_process(device: torch.device, *, rank: int) -> dict[str, Any]:
    """All of this process that its numbers could depend on, and where it is; plain JSON values.

    Args:
        device: Where it computes.
        rank: Its number among the workers.
    """
    cuda = device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if cuda else None
    return {
        "rank": rank,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "device": str(device),
        "device_name": properties.name if properties else platform.processor() or "cpu",
        "device_uuid": str(getattr(properties, "uuid", "")) if properties else "",
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        # Kernels are chosen by it: another one gives other last digits.
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "deterministic_debug_mode": torch.get_deterministic_debug_mode(),
        "cublas_workspace_config": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "tf32": cuda
        and (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
    }


def configure_process(*, threads: int, deterministic: str, device: torch.device) -> None:
    """Fix what is fixed for a process: threads, determinism, the precision of matrix products.

    Args:
        threads: Threads of one operator; float sums depend on their number.
        deterministic: `true` refuses operators without a deterministic form, `warn` names them,
            `false` lets the fastest be chosen.
        device: Chosen for CUDA calls that name none.
    """
    torch.set_num_threads(threads)
    if device.type == "cpu":
        _keep_freed_memory()
    elif deterministic != "false":
        # A lane has it from its start; a process of its own, such as under torchrun, from here.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same switch as use_deterministic_algorithms, which also imports the compiler: 2 s.
    torch.set_deterministic_debug_mode(_DEBUG_MODES[deterministic])
    # Would write NaN into all new memory, 7 % of a small network's time, lest somebody read it
    # before it is written. No operator of torch does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = deterministic != "false"
        torch.backends.cudnn.benchmark = False
        # TensorFloat-32 keeps 10 bits of the mantissa; nobody asked for that.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of one batch for the next, where it is the C library.

    By default each large block is a mapping of its own, given back when it is freed, and every
    page of the next batch is faulted in anew: seven times the cost of converting its pixels.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None)
    if platform.libc_ver()[0] == "glibc" and allocator is not None:
        allocator(_M_MMAP_MAX, 0)
        allocator(_M_TRIM_THRESHOLD, _KEPT_BYTES)
