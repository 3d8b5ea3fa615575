"""Epochs: who comes when, how often, in whose share."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.order import (
    balanced_order,
    batch_sizes,
    count_occurrences,
    epoch_order,
    epoch_slots,
    shard_batch,
    split_batches,
)

MakePlan = Callable[..., DataPlan]
SKEWED = torch.tensor([0] * 30 + [1] * 5 + [2] * 7)


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
    [
        (8, False, [4, 4]),
        (10, False, [4, 4, 2]),
        (10, True, [4, 4]),
        (8, True, [4, 4]),
        (3, True, []),
    ],
)
def test_the_last_batch_is_smaller_or_dropped(
    length: int, drop_last: bool, sizes: list[int]
) -> None:
    """10 images in batches of 4 are 4, 4 and 2, or 4 and 4; 8 images lose none either way."""
    batches = split_batches(torch.arange(length), batch_size=4, drop_last=drop_last)

    assert [len(batch) for batch in batches] == sizes
    assert [value for batch in batches for value in batch.tolist()] == list(range(sum(sizes)))
    assert batch_sizes(length, batch_size=4, drop_last=drop_last) == sizes


@pytest.mark.parametrize(("size", "workers"), [(64, 2), (7, 2), (11, 4), (5, 1)])
def test_shards_differ_by_at_most_one_image(size: int, workers: int) -> None:
    """The shards of all workers are the batch, in order, none larger by two than another."""
    batch = torch.randperm(size)

    shards = [shard_batch(batch, rank=rank, world_size=workers) for rank in range(workers)]

    assert torch.equal(torch.cat(shards), batch)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_an_epoch_is_the_order_cut_into_batches(make_plan: MakePlan) -> None:
    """Each image once, for the first time."""
    slots = epoch_slots(torch.zeros(10), make_plan(batch_size=4), seed=3, epoch=2)

    positions = torch.cat([batch.positions for batch in slots])
    assert [len(batch) for batch in slots] == [4, 4, 2]
    assert torch.equal(positions, epoch_order(10, seed=3, epoch=2))
    assert all(int(batch.occurrences.sum()) == 0 for batch in slots)


def test_a_balanced_epoch_has_every_class_equally_often() -> None:
    """42 images of 3 classes are 14 of each, although one class has 5 and another 30."""
    order = balanced_order(SKEWED, seed=0, epoch=1)

    assert SKEWED[order].bincount().tolist() == [14, 14, 14]
    counts = Counter(order.tolist())
    # Nobody is taken again before all of the class have been: 14 is 2 x 5 + 4 and 2 x 7.
    assert sorted(counts[position] for position in range(30, 35)) == [2, 3, 3, 3, 3]
    assert [counts[position] for position in range(35, 42)] == [2] * 7
    assert max(counts[position] for position in range(30)) == 1


def test_a_balanced_epoch_is_as_long_as_another() -> None:
    """43 images make 14, 14 and 15; which class has more changes with the epoch."""
    labels = torch.cat([SKEWED, torch.tensor([0])])

    counts = [
        tuple(labels[balanced_order(labels, seed=0, epoch=epoch)].bincount().tolist())
        for epoch in range(1, 20)
    ]

    assert {tuple(sorted(found)) for found in counts} == {(14, 14, 15)}
    assert len(set(counts)) == 3


def test_a_balanced_order_is_mixed_and_of_seed_and_epoch_alone() -> None:
    """No class comes in a block; the rest as for any order."""
    order = balanced_order(SKEWED, seed=0, epoch=1)

    runs = (SKEWED[order][1:] != SKEWED[order][:-1]).sum()
    assert runs > 15
    assert torch.equal(order, balanced_order(SKEWED, seed=0, epoch=1))
    assert not torch.equal(order, balanced_order(SKEWED, seed=0, epoch=2))
    assert not torch.equal(order, balanced_order(SKEWED, seed=1, epoch=1))


def test_classes_that_are_not_there_are_not_drawn() -> None:
    """A class without training images has no share."""
    order = balanced_order(torch.tensor([0, 0, 3]), seed=0, epoch=1)

    assert len(order) == 3


@pytest.mark.parametrize(
    ("order", "counts"),
    [([5, 3, 5, 5, 3, 9], [0, 0, 1, 2, 1, 0]), ([], []), ([1], [0]), ([2, 2], [0, 1])],
)
def test_occurrences_count_what_came_before(order: list[int], counts: list[int]) -> None:
    """By hand."""
    found = count_occurrences(torch.tensor(order, dtype=torch.int64))

    assert found.tolist() == counts


def slots_of(plan: DataPlan, labels: Tensor) -> list[list[tuple[int, int]]]:
    """Position and occurrence of every slot of an epoch's batches."""
    return [
        list(zip(batch.positions.tolist(), batch.occurrences.tolist(), strict=True))
        for batch in epoch_slots(labels, plan, seed=0, epoch=1)
    ]


def test_copies_of_an_image_stand_in_one_batch(make_plan: MakePlan) -> None:
    """24 images in batches of 6, three copies: 8 images, each with its three in its batch."""
    batches = slots_of(make_plan(batch_size=6, repeated_augmentation=3), torch.zeros(24))

    assert [len(batch) for batch in batches] == [6] * 4
    seen: set[int] = set()
    for batch in batches:
        counts = Counter(position for position, _ in batch)
        assert set(counts.values()) == {3}
        assert not seen & set(counts)
        assert sorted(nth for _, nth in batch) == [0, 0, 1, 1, 2, 2]
        seen |= set(counts)
    assert len(seen) == 8


def test_workers_share_the_copies_of_an_image(make_plan: MakePlan) -> None:
    """First copies of all come before second ones, so that each worker sees each image."""
    (batch,) = slots_of(make_plan(batch_size=6, repeated_augmentation=2), torch.zeros(6))

    assert [position for position, _ in batch[:3]] == [position for position, _ in batch[3:]]


def test_an_epoch_of_copies_is_as_long(make_plan: MakePlan) -> None:
    """10 images in batches of 4 with 3 copies: 4, 4 and 2; the last have fewer."""
    plan = make_plan(batch_size=4, repeated_augmentation=3)
    batches = slots_of(plan, torch.zeros(10))

    copies = [sorted(Counter(p for p, _ in batch).values()) for batch in batches]
    assert copies == [[1, 3], [1, 3], [2]]
    dropped = slots_of(
        make_plan(batch_size=4, repeated_augmentation=3, drop_last=True), torch.zeros(10)
    )
    assert dropped == batches[:2]


def test_copies_are_balanced_too(make_plan: MakePlan) -> None:
    """Both together: no slot is the same image at the same occurrence as another."""
    plan = make_plan(batch_size=7, sampler="balanced", repeated_augmentation=2)

    slots = [slot for batch in slots_of(plan, SKEWED) for slot in batch]

    assert len(slots) == 42
    assert len(set(slots)) == 42
    counts = SKEWED[[position for position, _ in slots]].bincount()
    assert int(counts.min()) >= 8
