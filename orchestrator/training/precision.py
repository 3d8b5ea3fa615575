"""Keys `training.precision` and `model.channels_last`: how numbers lie in memory."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.amp import GradScaler

_TYPES: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How a network computes; weights, gradients and losses stay float32."""

    device: torch.device
    dtype: torch.dtype | None
    """Type of convolutions and matrix products; None for that of their inputs."""
    channels_last: bool
    scaler: GradScaler
    """Keeps float16's small gradients from vanishing; does nothing for other types."""

    @classmethod
    def of(cls, name: str, device: torch.device, *, channels_last: bool) -> "Precision":
        """The precision that a plan names: float32, bfloat16 or float16."""
        return cls(
            device=device,
            dtype=_TYPES.get(name),
            channels_last=channels_last,
            scaler=GradScaler(device.type, enabled=name == "float16"),
        )

    def autocast(self) -> AbstractContextManager[None]:
        """The context that a forward pass runs in."""
        if self.dtype is None:
            return nullcontext()
        context: AbstractContextManager[None] = torch.autocast(self.device.type, self.dtype)
        return context

    def widen(self, scores: Tensor) -> Tensor:
        """Scores in float32 where a forward pass gave them in less, for losses and metrics."""
        return scores if self.dtype is None else scores.float()

    def lay_out(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in the memory layout of the network's weights."""
        if not self.channels_last:
            return images
        return images.contiguous(memory_format=torch.channels_last)
