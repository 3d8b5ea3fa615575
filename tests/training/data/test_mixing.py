"""MixUp and CutMix: shares, boxes and partners, by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.mixing import Mix, cut_box, draw_mix, mix_images

MakePlan = Callable[..., DataPlan]
ONES, ZEROS = torch.ones(2, 1, 4, 8), torch.zeros(2, 1, 4, 8)
HALF = Mix(kind="mixup", lam=0.25, centre=(0.5, 0.5), partners=torch.tensor([1, 0]))


def drawn(plan: DataPlan, count: int = 2000, size: int = 6) -> list[Mix]:
    """How the batches of an epoch are mixed."""
    mixes = [draw_mix(plan, size, seed=0, epoch=1, step=step) for step in range(count)]
    return [mix for mix in mixes if mix is not None]


def test_mixup_is_a_weighted_mean() -> None:
    """A share of the image, the rest of its partner."""
    mixed, lam = mix_images(ONES, ZEROS, HALF)

    assert lam == 0.25
    assert (mixed == 0.25).all()
    assert (ONES == 1).all()


def test_cutmix_pastes_a_box_and_counts_it() -> None:
    """With lam 3/4 it has half of each side, 2 x 4 of 4 x 8 pixels; lam is what is left."""
    mixed, lam = mix_images(ONES, ZEROS, replace(HALF, kind="cutmix", lam=0.75))

    assert lam == 1 - 8 / 32
    assert mixed[0, 0].tolist() == [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 0, 0, 0, 0, 1, 1],
        [1, 1, 0, 0, 0, 0, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ]
    assert (ONES == 1).all()


def test_a_box_at_the_border_counts_what_is_inside() -> None:
    """In the corner only a quarter of the 2 x 4 box is left, so lam grows to 30/32."""
    corner = replace(HALF, kind="cutmix", lam=0.75, centre=(0.0, 0.0))

    mixed, lam = mix_images(ONES, ZEROS, corner)

    assert cut_box(4, 8, corner) == (0, 1, 0, 2)
    assert lam == 1 - 2 / 32
    assert float(mixed[0].mean()) == lam


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (32, 32)])
def test_the_share_is_always_the_pasted_area(
    make_plan: MakePlan, height: int, width: int
) -> None:
    """For every box that is drawn, pixel by pixel; from no box to the whole image."""
    images, partners = torch.ones(1, 1, height, width), torch.zeros(1, 1, height, width)

    for mix in drawn(make_plan(cutmix=0.3), count=300):
        mixed, lam = mix_images(images, partners, mix)
        assert float(mixed.double().mean()) == pytest.approx(lam, abs=1e-12)


def test_nothing_is_mixed_unasked(make_plan: MakePlan) -> None:
    """Both are off by default."""
    assert draw_mix(make_plan(), 4, seed=0, epoch=1, step=0) is None


def test_mixing_ends_at_its_epoch(make_plan: MakePlan) -> None:
    """The epoch that is named is the first without."""
    plan = make_plan(mixup=0.2, mix_off_epoch=3)

    on = [draw_mix(plan, 4, seed=0, epoch=epoch, step=0) is not None for epoch in (1, 2, 3, 4)]

    assert on == [True, True, False, False]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(make_plan: MakePlan, alpha: float) -> None:
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)), each to four standard errors."""
    shares = np.array([mix.lam for mix in drawn(make_plan(mixup=alpha))])
    variance = 1 / (4 * (2 * alpha + 1))

    assert abs(shares.mean() - 0.5) < 4 * math.sqrt(variance / len(shares))
    assert shares.var() == pytest.approx(variance, rel=0.15)


def test_of_both_each_batch_has_one(make_plan: MakePlan) -> None:
    """With equal chance; alone each is always itself."""
    both = [mix.kind for mix in drawn(make_plan(mixup=0.2, cutmix=1.0))]

    assert abs(both.count("mixup") - 1000) < 4 * math.sqrt(2000 / 4)
    assert {mix.kind for mix in drawn(make_plan(mixup=0.2), 50)} == {"mixup"}
    assert {mix.kind for mix in drawn(make_plan(cutmix=0.2), 50)} == {"cutmix"}


def test_partners_are_a_permutation(make_plan: MakePlan) -> None:
    """Every image of the batch is somebody's partner, once."""
    for mix in drawn(make_plan(mixup=0.2), 50, size=9):
        assert sorted(mix.partners.tolist()) == list(range(9))


def test_a_draw_depends_on_seed_epoch_and_step_alone(make_plan: MakePlan) -> None:
    """Whatever was drawn before; and each of the three matters."""

    def draw(seed: int, epoch: int, step: int) -> tuple[float, list[int]]:
        mix = draw_mix(make_plan(mixup=1.0), 8, seed=seed, epoch=epoch, step=step)
        assert mix is not None
        return mix.lam, mix.partners.tolist()

    first = draw(1, 1, 1)
    torch.rand(5)
    np.random.rand(5)  # noqa: NPY002

    assert draw(1, 1, 1) == first
    assert first not in [draw(2, 1, 1), draw(1, 2, 1), draw(1, 1, 2)]


def test_another_alpha_keeps_kinds_and_partners(make_plan: MakePlan) -> None:
    """A search over alpha compares like with like."""
    few, many = (drawn(make_plan(mixup=alpha, cutmix=alpha), 20) for alpha in (0.1, 2.0))

    assert [mix.kind for mix in few] == [mix.kind for mix in many]
    assert all(torch.equal(a.partners, b.partners) for a, b in zip(few, many, strict=True))
