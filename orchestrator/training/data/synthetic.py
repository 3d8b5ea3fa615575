"""Data set `synthetic`: made-up images of any number and size, which take no memory.

For measurements, and for trying a plan out before its data has come. Each image is a function
of its number alone: its class's coarse pattern under noise, which a network can learn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import SYNTHETIC
from orchestrator.training.data.images import fit_channels
from orchestrator.training.data.raw_set import RawSet, raw_part
from orchestrator.training.streams import derive_seed, stream_generator

_STREAM: Final = "synthetic"
_GRID: Final = 8
"""Fields per side of a class's pattern."""
_NOISE: Final = 64
"""Noise is uniform in [-64, 64) grey levels, patterns lie in [64, 192)."""


@dataclass(frozen=True)
class SyntheticPixels:
    """Images made up when they are read."""

    size: int
    """Number of images."""
    num_classes: int
    channels: int
    image_size: int
    """Height and width in pixels."""
    first: int
    """Number of the first image: the parts share no image."""
    fed: int
    """Channels that are asked for."""
    draws = False

    def __len__(self) -> int:
        """Number of images."""
        return self.size

    @property
    def whole(self) -> None:
        """None: they are not in memory."""
        return

    def read(self, row: int) -> Tensor:
        """One image, uint8, shape (C, H, W)."""
        number = self.first + row
        shape = (self.channels, self.image_size, self.image_size)
        generator = stream_generator(0, _STREAM, 1, number)
        noise = torch.randint(2 * _NOISE, shape, generator=generator, dtype=torch.uint8)
        pattern = self._patterns[number % self.num_classes]
        # Both lie in [0, 128): their sum needs no cutting off.
        image = noise.add_(functional.interpolate(pattern[None], shape[1:])[0])
        return fit_channels(image, self.fed)

    def describe(self, row: int) -> str:
        """The image's number."""
        return f"synthetic image {self.first + row}"

    @cached_property
    def _patterns(self) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(0, _STREAM, 0))
        shape = (self.num_classes, self.channels, _GRID, _GRID)
        return torch.randint(128, shape, generator=generator, dtype=torch.uint8)


def load_synthetic(
    parts: Sequence[str], arguments: Mapping[str, Any], *, channels: int
) -> RawSet:
    """Made-up images; classes take turns, so that each has its equal share.

    Args:
        parts: Parts that are wanted; the test part is as large as the validation part.
        arguments: train_size, val_size, num_classes, channels, image_size.
        channels: Channels that the network is fed.

    Raises:
        TrainingError: An argument is unknown or no positive whole number.
    """
    for name, value in arguments.items():
        if name not in SYNTHETIC:
            known = ", ".join(SYNTHETIC)
            raise TrainingError(f"data.arguments.{name}: no such argument; there are {known}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise TrainingError(
                f"data.arguments.{name}: must be a whole number above 0 (got {value!r})"
            )
    given = {**SYNTHETIC, **arguments}
    sizes = {"train": given["train_size"], "val": given["val_size"], "test": given["val_size"]}
    first, found = 0, {}
    for part, size in sizes.items():
        if part in parts:
            labels = (torch.arange(size) + first) % given["num_classes"]
            pixels = SyntheticPixels(
                size,
                given["num_classes"],
                given["channels"],
                given["image_size"],
                first,
                channels,
            )
            found[part] = raw_part(pixels, labels, first_id=first)
        first += size
    return RawSet(tuple(map(str, range(given["num_classes"]))), found)
