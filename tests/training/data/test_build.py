"""Key `data`: which images, which labels, in which batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from orchestrator.planning.run_plan import DataPlan
from orchestrator.training.data.build import (
    ImageSet,
    build_data,
    epoch_order,
    load_batches,
    redraw_labels,
    shard_batch,
    split_batches,
)

WHOLE = DataPlan(
    dataset="digits",
    num_classes=10,
    channels=1,
    image_size=8,
    batch_size=64,
    train_size=800,
    label_noise=0.0,
    drop_last=False,
)
CPU = torch.device("cpu")


def count_classes(labels: Tensor) -> list[int]:
    """How many labels each of the ten classes has."""
    return torch.bincount(labels, minlength=10).tolist()


def test_the_images_are_scikit_learns() -> None:
    """At each id stand its image, scaled from 0..16 to 0..255 and rounded, and its label."""
    digits = load_digits()
    data = build_data(WHOLE, seed=0)

    for part in (data.train, data.val):
        expected = np.floor(digits.images[part.ids.numpy()] * 255 / 16 + 0.5)
        assert np.array_equal(part.images[:, 0].numpy(), expected)
        assert np.array_equal(part.labels.numpy(), digits.target[part.ids.numpy()])


def test_the_stored_split_covers_everything_once() -> None:
    """800 training, 700 validation and 297 test images are the 1,797 scans, none twice."""
    from orchestrator.training.data.build import _DIGITS

    with np.load(_DIGITS) as stored:
        parts = {name: stored[name] for name in ("train", "val", "test")}
        labels = stored["labels"]

    assert {name: len(ids) for name, ids in parts.items()} == {
        "train": 800,
        "val": 700,
        "test": 297,
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1797))
    for ids in parts.values():
        exact = np.bincount(labels) * len(ids) / 1797
        # Each class has its share of the 1,797, to the image or two that rounding moves.
        assert np.abs(np.bincount(labels[ids]) - exact).max() < 2


def test_a_share_of_the_labels_is_redrawn_exactly() -> None:
    """Of 50 labels, 20 % are ten; none of the ten classes drawn from is the one that was."""
    labels = torch.full((50,), 10)

    noisy = redraw_labels(labels, share=0.2, num_classes=10, seed=1)

    assert int((noisy != labels).sum()) == 10
    assert torch.equal(labels, torch.full((50,), 10))


def test_redrawn_labels_depend_on_the_seed_alone() -> None:
    """The same seed redraws the same labels to the same classes, another seed others."""
    labels = torch.arange(10).repeat(20)

    once, again, other = (
        redraw_labels(labels, share=0.5, num_classes=10, seed=seed) for seed in (4, 4, 5)
    )

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_no_noise_changes_no_label() -> None:
    """A share of 0 is the clean data set."""
    labels = torch.arange(10)

    assert torch.equal(redraw_labels(labels, share=0.0, num_classes=10, seed=0), labels)


def test_noise_spares_the_validation_labels() -> None:
    """What a run is judged by is the same with and without noise, for every seed."""
    clean = build_data(WHOLE, seed=0)
    noisy = build_data(replace(WHOLE, label_noise=0.9), seed=8)

    assert torch.equal(noisy.val.labels, clean.val.labels)
    assert torch.equal(noisy.val.images, clean.val.images)
    assert int((noisy.train.labels != clean.train.labels).sum()) > 400


def test_noise_leaves_the_choice_of_images_alone() -> None:
    """The subset has a stream of its own."""
    small = replace(WHOLE, train_size=100)

    clean = build_data(small, seed=2)
    noisy = build_data(replace(small, label_noise=0.5), seed=2)

    assert torch.equal(noisy.train.ids, clean.train.ids)


@pytest.mark.parametrize("size", [2, 10, 57, 600, 799, 800])
def test_a_subset_keeps_the_proportions_of_the_classes(size: int) -> None:
    """A subset of any size has each class's share of it, to less than two images."""
    whole = build_data(WHOLE, seed=0).train

    subset = build_data(replace(WHOLE, train_size=size), seed=6).train

    exact = [count * size / 800 for count in count_classes(whole.labels)]
    counts = count_classes(subset.labels)
    assert len(subset) == size
    assert len(set(subset.ids.tolist())) == size
    assert max(abs(c - e) for c, e in zip(counts, exact, strict=True)) < 2


def test_a_subset_depends_on_the_seed_alone() -> None:
    """The same seed chooses the same images, another seed others."""
    small = replace(WHOLE, train_size=100)

    once, again, other = (build_data(small, seed=seed).train.ids for seed in (1, 1, 2))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_smaller_subset_is_part_of_a_larger_one() -> None:
    """Learning curves over `train_size` add images and never exchange them."""
    small, large = (
        set(build_data(replace(WHOLE, train_size=size), seed=1).train.ids.tolist())
        for size in (100, 300)
    )

    assert small < large


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    """Whatever was drawn before, epoch 2 of seed 1 has one order, and no other epoch has it."""
    first = epoch_order(20, seed=1, epoch=2)
    torch.rand(100)
    second = epoch_order(20, seed=1, epoch=2)

    assert torch.equal(first, second)
    assert sorted(first.tolist()) == list(range(20))
    assert not torch.equal(first, epoch_order(20, seed=1, epoch=3))
    assert not torch.equal(first, epoch_order(20, seed=2, epoch=2))


@pytest.mark.parametrize(
    ("length", "drop_last", "sizes"),
    [(8, False, [4, 4]), (10, False, [4, 4, 2]), (10, True, [4, 4]), (8, True, [4, 4])],
)
def test_the_last_batch_is_smaller_or_dropped(
    length: int, drop_last: bool, sizes: list[int]
) -> None:
    """10 images in batches of 4 are 4, 4 and 2, or 4 and 4; 8 images lose none either way."""
    batches = split_batches(torch.arange(length), batch_size=4, drop_last=drop_last)

    assert [len(batch) for batch in batches] == sizes
    assert torch.cat(batches).tolist() == list(range(sum(sizes)))


@pytest.mark.parametrize(("size", "workers"), [(64, 2), (7, 2), (11, 4), (5, 1)])
def test_shards_differ_by_at_most_one_image(size: int, workers: int) -> None:
    """The shards of all workers are the batch, in order, none larger by two than another."""
    batch = torch.randperm(size)

    shards = [shard_batch(batch, rank=rank, world_size=workers) for rank in range(workers)]

    assert torch.equal(torch.cat(shards), batch)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_batches_are_the_same_however_they_are_loaded(loader_workers: int) -> None:
    """Floats in [0, 1] in the order asked for; loader processes change nothing of it."""
    pixels = torch.arange(6, dtype=torch.uint8).mul(51).view(6, 1, 1, 1)
    images = ImageSet(pixels, torch.tensor([0, 1, 2, 3, 4, 5]), torch.arange(6))
    batches = [torch.tensor([5, 0]), torch.tensor([3]), torch.tensor([1, 2, 4])]

    loaded = list(load_batches(images, batches, device=CPU, loader_workers=loader_workers))

    assert [labels.tolist() for _, labels in loaded] == [[5, 0], [3], [1, 2, 4]]
    assert [part.dtype for part in loaded[0]] == [torch.float32, torch.int64]
    for got, batch in zip(loaded, batches, strict=True):
        # 51 / 255 = 1/5: the n-th image is n/5.
        assert got[0].flatten().tolist() == (batch.float() / 5).tolist()


def test_loader_processes_leave_the_global_generator_alone() -> None:
    """A base seed is not drawn from it: dropout is the same with and without them."""
    images = ImageSet(
        torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.zeros(2), torch.zeros(2)
    )
    before = torch.get_rng_state()

    list(load_batches(images, [torch.tensor([0])], device=CPU, loader_workers=1))

    assert torch.equal(torch.get_rng_state(), before)


def test_grey_images_are_repeated_for_networks_that_take_colour() -> None:
    """Three channels hold the same scan three times."""
    images = build_data(replace(WHOLE, channels=3), seed=0).train.images

    assert images.shape == (800, 3, 8, 8)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_images_are_resized_to_the_size_asked_for() -> None:
    """At 16 pixels an image keeps its mean brightness to a grey level or two."""
    small = build_data(WHOLE, seed=0).train.images.float()
    large = build_data(replace(WHOLE, image_size=16), seed=0).train.images

    assert large.shape == (800, 1, 16, 16)
    assert large.dtype == torch.uint8
    means = small.mean(dim=(1, 2, 3)), large.float().mean(dim=(1, 2, 3))
    assert (means[0] - means[1]).abs().max() < 2


def test_selecting_keeps_images_labels_and_ids_together() -> None:
    """Each position brings its image, its label and its id, in the order asked for."""
    images = ImageSet(
        torch.tensor([10, 11, 12]).view(3, 1, 1, 1), torch.tensor([0, 1, 2]), torch.arange(3)
    )

    selected = images.select(torch.tensor([2, 0]))

    assert len(selected) == 2
    assert [part.flatten().tolist() for part in vars(selected).values()] == [
        [12, 10],
        [2, 0],
        [2, 0],
    ]
