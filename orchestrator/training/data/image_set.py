"""Labelled images: pixels that may lie in memory, in a mapped file, in files or nowhere yet.

Everything that chooses images (parts, classes, subsets) works on labels and positions and never
touches a pixel; pixels are read when a batch is made of them.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from orchestrator.training.data.decoding import read_image
from orchestrator.training.data.normalization import IDENTITY, Normalization


class Pixels(Hashable, Protocol):
    """Images that are read one by one; must pickle, for loader processes."""

    @property
    def draws(self) -> bool:
        """Whether reading runs the user's code, which may draw random numbers."""
        ...

    @property
    def whole(self) -> Tensor | None:
        """All images at once, uint8, shape (N, C, H, W); None where they differ in size."""
        ...

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def read(self, row: int) -> Tensor:
        """One image: uint8, shape (C, H, W); not to be written into."""
        ...

    def describe(self, row: int) -> str:
        """What a message calls the image: its path, or its place in its data set."""
        ...


@dataclass(frozen=True, eq=False)
class TensorPixels:
    """Images of one size in memory."""

    tensor: Tensor
    """uint8, shape (N, C, H, W)."""
    name: str = "image"
    draws = False

    @property
    def whole(self) -> Tensor:
        """All images at once."""
        return self.tensor

    def __len__(self) -> int:
        """N."""
        return len(self.tensor)

    def read(self, row: int) -> Tensor:
        """One image, shape (C, H, W)."""
        return self.tensor[row]

    def describe(self, row: int) -> str:
        """The row's number."""
        return f"{self.name} {row}"


@dataclass(frozen=True, eq=False)
class FilePixels:
    """Image files, decoded each time that they are read."""

    paths: tuple[str, ...]
    """Absolute."""
    channels: int
    draws = False

    @property
    def whole(self) -> None:
        """None: they are not in memory."""
        return

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.paths)

    def read(self, row: int) -> Tensor:
        """One image, decoded.

        Raises:
            UnreadableImageError: The file cannot be decoded.
        """
        return read_image(self.paths[row], channels=self.channels)

    def describe(self, row: int) -> str:
        """The file's path."""
        return self.paths[row]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, of which each has a place in `pixels`."""

    pixels: Pixels
    rows: Tensor
    """int64, shape (N,): each sample's row in `pixels`."""
    labels: Tensor
    """int64, shape (N,), in [0, num_classes)."""
    ids: Tensor
    """int64, shape (N,): the sample's number in the whole data set."""
    normalization: Normalization = IDENTITY
    sources: str = ""
    """Folder of the user's own modules, which transforms may come from."""

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """The pixels of all samples at once, uint8, shape (N, C, H, W): all of one size."""
        if self.pixels.whole is not None:
            return self.pixels.whole[self.rows]
        return torch.stack([self.pixels.read(row) for row in self.rows.tolist()])

    def select(self, positions: Tensor) -> "ImageSet":
        """The samples at these positions, in this order; `positions` int64, shape (M,)."""
        return replace(
            self,
            rows=self.rows[positions],
            labels=self.labels[positions],
            ids=self.ids[positions],
        )


def image_set(pixels: Pixels, labels: Tensor, *, first_id: int = 0) -> ImageSet:
    """All of the pixels in their order, numbered from `first_id`; labels int64, shape (N,)."""
    count = len(pixels)
    assert len(labels) == count, (len(labels), count)
    return ImageSet(pixels, torch.arange(count), labels, torch.arange(count) + first_id)
