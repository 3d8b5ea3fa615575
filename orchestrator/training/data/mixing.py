"""MixUp and CutMix: each image mixed with a partner out of the batch of all workers.

What is drawn belongs to (seed, epoch, batch) and to the whole batch, never to a worker's share
of it: partners cross from one share to another, and two workers compute what one would.

Sources: Zhang et al. 2018, MixUp, arXiv:1710.09412; Yun et al. 2019, CutMix, arXiv:1905.04899.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.streams import derive_seed

MIX: Final = "mix"
"""Name of the stream of partners, kinds, shares and places."""


@dataclass(frozen=True, eq=False)
class Mix:
    """How one batch is mixed."""

    kind: Literal["mixup", "cutmix"]
    lam: float
    """Share of an image that stays its own, as drawn."""
    centre: tuple[float, float]
    """Middle of CutMix's box, as shares of height and width."""
    partners: Tensor
    """int64, shape (B,): the place in the global batch of each image's partner."""


def draw_mix(plan: DataPlan, size: int, *, seed: int, epoch: int, step: int) -> Mix | None:
    """How a batch is mixed; None where it is not.

    Args:
        plan: Key `data`, decided.
        size: Images of the global batch.
        seed: The run's seed.
        epoch: Counted from 1.
        step: Number of the batch in its epoch, from 0.
    """
    off = plan.mix_off_epoch is not None and epoch >= plan.mix_off_epoch
    if off or not (plan.mixup or plan.cutmix):
        return None
    generator = np.random.default_rng(derive_seed(seed, MIX, epoch, step))
    # All is drawn whether needed or not: another alpha leaves kinds and partners as they were.
    heads, partners = generator.random() < 0.5, generator.permutation(size)
    centre = (generator.random(), generator.random())
    mixup = bool(plan.mixup) and (heads or not plan.cutmix)
    alpha = plan.mixup if mixup else plan.cutmix
    return Mix(
        kind="mixup" if mixup else "cutmix",
        lam=float(generator.beta(alpha, alpha)),
        centre=centre,
        partners=torch.from_numpy(partners),
    )


def mix_images(images: Tensor, partners: Tensor, mix: Mix) -> tuple[Tensor, float]:
    """Mix normalised images with their partners.

    MixUp: lam * x + (1 - lam) * partner. CutMix: a box of the partner is pasted, of area
    1 - lam before the border cuts it; lam is then corrected to what was really pasted.

    Args:
        images: float, shape (B, C, H, W).
        partners: Of the same shape.
        mix: How.

    Returns:
        Mixed images, a new tensor, and the share of each label that stays the image's own.
    """
    if mix.kind == "mixup":
        return torch.lerp(partners, images, mix.lam), mix.lam
    height, width = images.shape[-2:]
    top, bottom, left, right = cut_box(height, width, mix)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def cut_box(height: int, width: int, mix: Mix) -> tuple[int, int, int, int]:
    """CutMix's box as top, bottom, left, right, ends exclusive; cut off at the border."""
    side = math.sqrt(1 - mix.lam)
    edges = []
    for length, centre in zip((height, width), mix.centre, strict=True):
        half, middle = int(length * side) / 2, int(centre * length)
        edges += [max(0, math.floor(middle - half)), min(length, math.floor(middle + half))]
    top, bottom, left, right = edges
    return top, bottom, left, right
