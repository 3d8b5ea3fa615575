"""How much of the disk a run takes: its weights, and a checkpoint of its training."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orchestrator.planning.run_plan import CheckpointPlan

_USUAL_MOMENTS: Final = 2
"""Tensors of a parameter's size that an optimizer keeps, where it cannot be told."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Sizes in bytes."""

    weights: int
    training: int
    """Weights, the optimizer's state, and the average where one is kept."""

    def describe(
        self, checkpoint: CheckpointPlan | None, *, runs: int, lanes: int, best: bool
    ) -> str:
        """What a search takes, in words.

        Args:
            checkpoint: What stays of each run's checkpoints; None for no checkpoint.
            runs: That will be trained.
            lanes: That train at a time.
            best: Whether the best epoch's weights are kept beside the last's.
        """
        weights = self.weights * (2 if best else 1)
        text = f"{word_bytes(runs * weights)} of weights"
        if checkpoint is None:
            return text
        size = self.training + (self.weights if best else 0)
        while_trained = word_bytes(lanes * checkpoint.keep_last * size)
        stays = checkpoint.keep_best + checkpoint.keep_final
        for_good = f", {word_bytes(runs * stays * size)} for good" if stays else ""
        return f"{text}; checkpoints {while_trained} while it trains{for_good}"


def measure_footprint(model: nn.Module, optimizer: Optimizer, *, ema: bool) -> Footprint:
    """The sizes, by one step on the meta device; `model` and `optimizer` are on it.

    Args:
        model: The network.
        optimizer: Its optimizer, which has taken no step.
        ema: Whether an average of the weights is kept.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    weights = sum(_size(tensor) for tensor in model.state_dict().values())
    try:
        optimizer.step()
        states = optimizer.state.values()
        tensors = [v for state in states for v in state.values() if isinstance(v, Tensor)]
        moments = sum(map(_size, tensors))
    except RuntimeError:
        # Some look at values, which tensors of the meta device do not have.
        moments = _USUAL_MOMENTS * sum(map(_size, parameters))
    optimizer.zero_grad()
    return Footprint(weights=weights, training=weights * (2 if ema else 1) + moments)


def word_bytes(count: int) -> str:
    """`12 MB`; a kilobyte has 1,000 bytes, as on disks."""
    if count < 1_000_000:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 10_000_000_000 else f"{count / 1e9:,.0f} GB"


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
