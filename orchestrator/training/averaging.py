"""Key `training.ema`: a moving average of a network's weights and running statistics.

Whole numbers have no average: a table of indices, such as a shifted-window network's, would
lose a bit of itself to rounding at every step, and a count of batches would stand still. They
are taken from the network as they are.
"""

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average(AveragedModel):
    """torch's average, updated without its copy of a count to the device, which would wait.

    Args:
        model: The network; after its first step the average is equal to it.
        decay: Share of the old that each step leaves; 1 - decay comes from the new.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self._blend = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the network as it is after a step."""
        averaged, new = [], []
        for own, now in zip(_tensors(self.module), _tensors(model), strict=True):
            if self.n_averaged == 0 or not (own.is_floating_point() or own.is_complex()):
                own.copy_(now)
            else:
                averaged.append(own)
                new.append(now)
        if averaged:
            self._blend(averaged, new, self.n_averaged)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> chain[torch.Tensor]:
    return chain(model.parameters(), model.buffers())
