"""Key `training.ema`: a moving average of a network's weights and running statistics.

Whole numbers have no average: a table of indices, such as a shifted-window network's, would
lose a bit of itself to rounding at every step, and a count of batches would stand still. They
are taken from the network as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def build_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """After each step, decay of the old and 1 - decay of the new; None where none is kept.

    Args:
        model: The network; after its first step the average is equal to it.
        decay: Share of the old per step, or None.
    """
    if decay is None:
        return None
    blend = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    # Lists of tensors of one type, as torch sorts them; its annotation is wider.
    def update(averaged: Any, current: Any, count: Tensor | int) -> None:  # noqa: ANN401
        if averaged[0].is_floating_point() or averaged[0].is_complex():
            blend(averaged, current, count)
            return
        for own, now in zip(averaged, current, strict=True):
            own.copy_(now)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
