"""What pixels are normalised by: key `data.normalize`.

Measured statistics are sums of integers, divided once at the end: exact, and the same in
whatever order and by however many workers the images are read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from orchestrator.errors import TrainingError

_CHUNK = 1 << 24
"""Pixels summed at once, which bounds the memory of a sum."""


@dataclass(frozen=True)
class Normalization:
    """Subtracted from and divided by, for pixels in [0, 1]; both empty for nothing."""

    mean: tuple[float, ...]
    """One per channel, or one for all."""
    std: tuple[float, ...]

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels as the network takes them: (x / 255 - mean) / std.

        Args:
            pixels: uint8, shape (B, C, H, W), on any device.

        Returns:
            A new tensor, float32, of that shape and device.
        """
        images = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        if not self.mean:
            return images
        mean, std = (_column(values, images.device) for values in (self.mean, self.std))
        return images.sub_(mean).div_(std)

    def mean_pixel(self) -> tuple[int, ...]:
        """The uint8 value per channel that comes out nearest to 0."""
        return tuple(round(255 * value) for value in self.mean) or (0,)


@lru_cache(maxsize=16)
def _column(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Values per channel on a device, float32, shape (C, 1, 1).

    Made once: a copy from pageable memory in every batch would let a GPU's queue run dry.
    """
    # One that is made while scoring must serve training too.
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device).view(-1, 1, 1)


IDENTITY = Normalization((), ())


def measure(images: Iterable[Tensor]) -> Normalization:
    """Mean and standard deviation per channel over all pixels, every pixel counted once.

    Args:
        images: uint8, each (C, H, W) or several (N, C, H, W), of any sizes.

    Raises:
        TrainingError: A channel has one value everywhere.
    """
    count, total, squares = 0, torch.tensor(0), torch.tensor(0)
    for image in images:
        values = image.flatten(1) if image.ndim == 3 else image.transpose(0, 1).flatten(1)
        for chunk in values.split(_CHUNK, dim=1):
            wide = chunk.to(torch.int32)
            total = total + wide.sum(dim=1)
            squares = squares + (wide * wide).sum(dim=1)
        count += values.shape[1]
    mean = total.double() / count
    # In integers until here: the difference of two nearly equal floats would lose its digits.
    spread = [count * s - t * t for s, t in zip(squares.tolist(), total.tolist(), strict=True)]
    std = [value**0.5 / count for value in spread]
    if 0 in std:
        raise TrainingError(
            f"data.normalize: channel {std.index(0)} is {mean[std.index(0)]:g} in all training "
            "images, which cannot be divided by its spread; use none or given"
        )
    return Normalization(tuple((mean / 255).tolist()), tuple(value / 255 for value in std))
