"""Normalisation: what is measured, what is given, and what comes out."""

import numpy as np
import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.training.data.normalization import IDENTITY, Normalization, measure


def test_nothing_is_pixels_in_zero_to_one() -> None:
    """0, 51 and 255 are 0, 1/5 and 1; the bytes stay as they were."""
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)

    images = IDENTITY.apply(pixels)

    assert images.dtype == torch.float32
    assert images.flatten().tolist() == [0.0, (torch.tensor(51.0) / 255).item(), 1.0]
    assert pixels.flatten().tolist() == [0, 51, 255]


def test_each_channel_has_its_own_mean_and_spread() -> None:
    """(x - mean) / std by hand; one pair for all channels too."""
    pixels = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).view(1, 2, 1, 2)

    own = Normalization((0.5, 0.25), (0.5, 0.25)).apply(pixels)
    shared = Normalization((0.5,), (0.25,)).apply(pixels)

    assert own.flatten().tolist() == [-1.0, 1.0, 3.0, -1.0]
    assert shared.flatten().tolist() == [-2.0, 2.0, 2.0, -2.0]


def test_what_comes_out_is_contiguous_however_it_was_stored() -> None:
    """Images from the cache are strided as (H, W, C)."""
    pixels = torch.randint(256, (2, 4, 5, 3), dtype=torch.uint8).permute(0, 3, 1, 2)

    images = IDENTITY.apply(pixels)

    assert images.is_contiguous()
    assert torch.equal(images, pixels.float() / 255)


def test_statistics_are_numpys_over_all_pixels() -> None:
    """Of images of three sizes, one by one and several at once, to 1e-12."""
    generator = np.random.default_rng(3)
    small, large, wide = (
        generator.integers(0, high, shape, dtype=np.uint8)
        for high, shape in ((256, (3, 4, 5)), (90, (3, 9, 9)), (20, (6, 3, 2, 8)))
    )
    parts = [
        small.reshape(3, -1),
        large.reshape(3, -1),
        wide.transpose(1, 0, 2, 3).reshape(3, -1),
    ]
    pixels = np.concatenate(parts, axis=1).astype(np.float64) / 255

    measured = measure(map(torch.from_numpy, (small, large, wide)))

    assert measured.mean == pytest.approx(pixels.mean(axis=1), rel=1e-12)
    assert measured.std == pytest.approx(pixels.std(axis=1), rel=1e-12)


def test_measured_images_have_mean_0_and_spread_1() -> None:
    """That is what it is for."""
    pixels = torch.randint(30, 200, (50, 3, 6, 6), dtype=torch.uint8)

    images = measure([pixels]).apply(pixels)

    assert images.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (images.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_sums_do_not_overflow() -> None:
    """16.8 million white pixels but one: 255**2 of each is far beyond 32 bits."""
    pixels = torch.full((1, 4096, 4096), 255, dtype=torch.uint8)
    pixels[0, 0, 0] = 0
    count = 4096 * 4096

    measured = measure([pixels])

    assert measured.mean == pytest.approx(((count - 1) / count,), rel=1e-15)
    assert measured.std == pytest.approx((((count - 1) ** 0.5) / count,), rel=1e-12)


def test_a_channel_without_spread_is_refused() -> None:
    """It cannot be divided by 0."""
    pixels = torch.stack([torch.arange(16).view(4, 4), torch.full((4, 4), 9)]).to(torch.uint8)

    with pytest.raises(
        TrainingError, match=r"^data\.normalize: channel 1 is 9 in all training"
    ):
        measure([pixels])


def test_the_mean_pixel_comes_out_nearest_to_zero() -> None:
    """0.485 * 255 = 123.675 is 124; without normalisation it is black."""
    given = Normalization((0.485, 0.0, 1.0), (0.2, 0.2, 0.2))

    assert given.mean_pixel() == (124, 0, 255)
    assert IDENTITY.mean_pixel() == (0,)
