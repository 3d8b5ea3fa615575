"""A GPU's memory that does not suffice: batches cut into more parts, and how many are needed.

The parts' gradients are summed before the one step, so that the global batch stays what the
plan says; batch normalisation alone sees the smaller parts.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from orchestrator.errors import TrainingError
from orchestrator.training.context import WorkerContext
from orchestrator.training.loss import Targets
from orchestrator.training.state import TrainingState
from orchestrator.training.streams import read_generators, set_generators

_MOMENTS = 2
"""Tensors of the parameters' size that an optimizer may add with its first step."""


class OutOfMemoryError(TrainingError):
    """A part of a batch does not fit.

    Args:
        message: What to tell.
        next_parts: Parts of a batch to try next; None where none can be smaller.
    """

    def __init__(self, message: str, *, next_parts: int | None) -> None:
        super().__init__(message)
        self.next_parts = next_parts


@contextmanager
def told_of_memory(state: TrainingState, share: int) -> Iterator[None]:
    """Tell of a GPU whose memory does not suffice in words.

    Args:
        state: What is trained.
        share: Images of this worker in the step.

    Raises:
        OutOfMemoryError: It did not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).splitlines()[0]
        count = "1 part" if state.parts == 1 else f"{state.parts} parts"
        raise OutOfMemoryError(
            f"out of memory with {count} of a batch ({first}); set training.micro_batch to "
            "fewer images, or data.batch_size lower",
            # Batch normalisation needs two images in each.
            next_parts=2 * state.parts if share >= 4 * state.parts else None,
        ) from error


def release_memory() -> None:
    """Give back what a training that has ended held of a GPU."""
    # On a CPU what is left goes by itself, and looking at every object takes 0.1 s and more.
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def end_memory(device: torch.device) -> dict[str, Any]:
    """Give back what a training held of its GPU, and account for it.

    Returns:
        A note for the records: `peak`, the most that tensors took; `left`, what some still
        take, and `reserved`, what is kept for this process beside; in bytes. Empty on a CPU.
        The next peak is counted from here.
    """
    if device.type != "cuda":
        return {}
    peak = torch.cuda.max_memory_allocated(device)
    release_memory()
    torch.cuda.reset_peak_memory_stats(device)
    return {
        "note": "memory",
        "peak": peak,
        "left": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
    }


def find_parts(state: TrainingState, shape: torch.Size, context: WorkerContext) -> int:
    """The fewest parts that this worker's share of a batch fits in, the same on every rank.

    Tried on the device, forward and backward; nothing of the training is changed by it.

    Args:
        state: Network, loss and precision.
        shape: Of the worker's images, (B, C, H, W).
        context: This worker.

    Raises:
        OutOfMemoryError: Not even two images fit at once.
    """
    parts = 1
    while not _fits(state, shape, parts, context):
        if shape[0] // (2 * parts) < 2:
            raise OutOfMemoryError(
                f"not even {shape[0] // parts} images fit on {context.device} at once; set "
                "data.image_size lower, or choose a smaller network",
                next_parts=None,
            )
        parts *= 2
    return context.largest(parts)


def _fits(state: TrainingState, shape: torch.Size, parts: int, context: WorkerContext) -> bool:
    generators = read_generators(context.device)
    images = torch.zeros(-(-shape[0] // parts), *shape[1:], device=context.device)
    targets = Targets(torch.zeros(len(images), dtype=torch.int64, device=context.device))
    try:
        with _untouched(state.model):
            state.model.train()
            _freeze_statistics(state.model)
            reserved = [
                torch.empty_like(parameter)
                for parameter in state.model.parameters()
                for _ in range(_MOMENTS)
            ]
            state.try_backward(images, targets)
            del reserved
    except torch.OutOfMemoryError:
        return False
    finally:
        state.optimizer.zero_grad()
        set_generators(generators, context.device)
        release_memory()
    return True


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put every layer back into the mode that it was in, and every buffer to its values."""
    modes = {layer: layer.training for layer in model.modules()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        yield
    finally:
        for layer, training in modes.items():
            layer.training = training
        for buffer, value in buffers.items():
            buffer.copy_(value)


def _freeze_statistics(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
