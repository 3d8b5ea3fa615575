"""Data set `digits`: scikit-learn's 1,797 scans of 8 x 8 pixels, shipped inside the package."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from orchestrator.training.data.image_set import TensorPixels
from orchestrator.training.data.raw_set import RawPart, RawSet

_DIGITS = Path(__file__).with_name("digits.npz")


def load_digits(parts: Sequence[str], *, image_size: int, channels: int) -> RawSet:
    """The scans, brought to a size, grey levels 0 to 16 spread over 0 to 255.

    The split is stored with the scans: 800 to train on, 700 to validate on, 297 to test on.

    Args:
        parts: Parts that are wanted.
        image_size: Height and width, in pixels.
        channels: The scan is repeated in each of them.
    """
    pixels, labels, positions = _read_digits(image_size, channels)
    return RawSet(
        classes=tuple(map(str, range(10))),
        parts={
            part: RawPart(pixels, labels[positions[part]], positions[part], positions[part])
            for part in parts
        },
    )


@lru_cache(maxsize=4)
def _read_digits(
    image_size: int, channels: int
) -> tuple[TensorPixels, Tensor, dict[str, Tensor]]:
    with np.load(_DIGITS) as stored:
        # The scans count dark pixels, 0 to 16, in 4 x 4 blocks.
        pixels = torch.from_numpy(np.rint(stored["images"] * (255 / 16)).astype(np.uint8))
        labels = torch.from_numpy(stored["labels"].astype(np.int64))
        positions = {
            part: torch.from_numpy(stored[part].astype(np.int64))
            for part in ("train", "val", "test")
        }
    images = _resize(pixels[:, None], image_size).expand(-1, channels, -1, -1).contiguous()
    return TensorPixels(images, name="digit"), labels, positions


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    resized = functional.interpolate(
        images.float(), size=(size, size), mode="bilinear", antialias=True
    )
    return resized.round_().clamp_(0, 255).to(torch.uint8)
