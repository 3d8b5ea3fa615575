"""Image sets: images, labels and numbers stay together."""

from collections.abc import Callable
from pathlib import Path

import torch

from orchestrator.training.data.decoding import read_image
from orchestrator.training.data.image_set import FilePixels, ImageSet, TensorPixels, image_set
from orchestrator.training.data.normalization import Normalization


def test_selecting_keeps_images_labels_and_ids_together() -> None:
    """Each position brings its image, its label and its id, in the order asked for."""
    pixels = TensorPixels(torch.tensor([10, 11, 12], dtype=torch.uint8).view(3, 1, 1, 1))
    images = image_set(pixels, torch.tensor([0, 1, 2]), first_id=40)

    selected = images.select(torch.tensor([2, 0])).select(torch.tensor([1, 0, 0]))

    assert len(selected) == 3
    assert selected.images.flatten().tolist() == [10, 12, 12]
    assert selected.labels.tolist() == [0, 2, 2]
    assert selected.ids.tolist() == [40, 42, 42]
    assert selected.pixels is pixels


def test_a_selection_is_normalised_as_the_whole() -> None:
    """And finds the user's modules where the whole does."""
    pixels = TensorPixels(torch.zeros(2, 1, 1, 1, dtype=torch.uint8))
    rows = torch.arange(2)
    images = ImageSet(pixels, rows, rows, rows, Normalization((0.5,), (0.1,)), "/own")

    selected = images.select(torch.tensor([1]))

    assert (selected.normalization, selected.sources) == (images.normalization, "/own")


def test_files_are_read_one_by_one(write_image: Callable[..., Path]) -> None:
    """By row, in the channels asked for; a message calls them by their paths."""
    paths = tuple(str(write_image(f"{number}.png", seed=number)) for number in range(3))
    images = image_set(FilePixels(paths, 1), torch.arange(3)).select(torch.tensor([2, 1]))

    assert images.pixels.whole is None
    assert images.pixels.describe(2) == paths[2]
    expected = [read_image(paths[row], channels=1) for row in (2, 1)]
    assert torch.equal(images.images, torch.stack(expected))
