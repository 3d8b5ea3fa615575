"""What is proposed for a folder of images: usual choices, decided by its counts and sizes.

A first experiment that trains, not the best one: the file says beside each choice what it
depends on.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator.preparation.folder_survey import FolderSurvey

LARGEST: Final = 224
"""Pixels to which ImageNet's networks are used, and no image is enlarged beyond them."""
_SMALL: Final = 64
"""Pixels up to which the small network sees enough of an image."""
_LEAST: Final = 8
"""Pixels that a spec takes at least."""
_STEPS: Final = 10
"""Steps that an epoch should have at least, where the images allow it."""
_MANY: Final = 20_000
"""Training images from which the larger network is worth its time."""
_UNEVEN: Final = 3.0
"""Largest class over smallest from which balancing is proposed."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Values of a first experiment."""

    architecture: str
    pretrained: bool
    """Whether to start from ImageNet's weights."""
    image_size: int
    """Height and width, in pixels."""
    batch_size: int
    transforms: str
    epochs: int
    uneven: bool
    """Whether some class has many times the images of another."""


def propose(survey: FolderSurvey) -> Proposal:
    """Choose network, sizes and steps for a folder."""
    side = survey.lesser_side
    small = side <= _SMALL
    large = "resnet50" if survey.train_size >= _MANY else "resnet18"
    return Proposal(
        architecture="small_cnn" if small else large,
        pretrained=not small,
        image_size=max(_LEAST, side) if small else choose_image_size(side),
        batch_size=choose_batch_size(survey.train_size),
        transforms="light" if small else "imagenet",
        epochs=20 if small else 10,
        uneven=survey.imbalance > _UNEVEN,
    )


def choose_image_size(side: int) -> int:
    """The multiple of 32 pixels nearest to a side, from 64 to 224."""
    return min(LARGEST, max(64, (side + 16) // 32 * 32))


def choose_batch_size(images: int) -> int:
    """Images per step: 64, fewer where an epoch would have hardly a step.

    The last batch of an epoch never has a single image, which batch normalisation refuses.

    Args:
        images: Training images, 2 or more.
    """
    most = 64
    while most > 8 and images < most * _STEPS:
        most //= 2
    wholesome: tuple[int, ...] = (*range(most, 7, -8), *range(most, 1, -1))
    return next(size for size in wholesome if size <= images and images % size != 1)
