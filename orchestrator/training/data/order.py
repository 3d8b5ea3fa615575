"""Which images make an epoch, in which batches, and whose share of a batch is whose.

Everything here is a function of (seed, epoch) alone: no state is carried from epoch to epoch,
so that a training that is taken up again goes on as if it had never stopped.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.planning.section_plans import DataPlan
from orchestrator.training import streams


@dataclass(frozen=True, eq=False)
class Slots:
    """The images of one batch over all workers."""

    positions: Tensor
    """int64, shape (B,): positions in the training set."""
    occurrences: Tensor
    """int64, shape (B,): how often the epoch has had the image before."""

    def __len__(self) -> int:
        """B."""
        return len(self.positions)

    def take(self, places: Tensor) -> "Slots":
        """The slots at some places of the batch; int64, shape (M,)."""
        return Slots(self.positions[places], self.occurrences[places])


def epoch_slots(labels: Tensor, plan: DataPlan, *, seed: int, epoch: int) -> list[Slots]:
    """The batches of one epoch, over all workers.

    Args:
        labels: Of all training images, int64, shape (N,).
        plan: Key `data`, decided: sampler, repeats, batch size.
        seed: The run's seed.
        epoch: Counted from 1.
    """
    if plan.sampler == "balanced":
        order = balanced_order(labels, seed=seed, epoch=epoch)
    else:
        order = epoch_order(len(labels), seed=seed, epoch=epoch)
    sizes = batch_sizes(len(labels), batch_size=plan.batch_size, drop_last=plan.drop_last)
    if plan.repeated_augmentation > 1:
        order = _repeat_in_batches(order, sizes, copies=plan.repeated_augmentation)
    elif plan.sampler == "shuffle":
        zeros = torch.zeros(len(order), dtype=torch.int64)
        return list(map(Slots, order.split(plan.batch_size), zeros.split(plan.batch_size)))[
            : len(sizes)
        ]
    occurrences = count_occurrences(order)
    used = sum(sizes)
    return list(map(Slots, order[:used].split(sizes), occurrences[:used].split(sizes)))


def epoch_order(length: int, *, seed: int, epoch: int) -> Tensor:
    """The order of the samples in one epoch: of (seed, epoch) alone; int64, shape (length,)."""
    return torch.randperm(
        length, generator=streams.stream_generator(seed, streams.ORDER, epoch)
    )


def balanced_order(labels: Tensor, *, seed: int, epoch: int) -> Tensor:
    """As many samples as there are, with every class as often as any other, to one.

    A class's members are gone through in permutation after permutation: none is taken a second
    time before all others have been once.

    Args:
        labels: int64, shape (N,).
        seed: The run's seed.
        epoch: Counted from 1.

    Returns:
        Positions, int64, shape (N,).
    """
    generator = streams.stream_generator(seed, streams.ORDER, epoch)
    classes = labels.unique()
    # Which classes have one more, where N is no multiple of their number, is drawn too.
    sequence = classes[torch.randperm(len(classes), generator=generator)].repeat(
        -(-len(labels) // len(classes))
    )[: len(labels)]
    sequence = sequence[torch.randperm(len(labels), generator=generator)]
    order = torch.empty_like(labels)
    for value in classes.tolist():
        members, places = (labels == value).nonzero().flatten(), (sequence == value).nonzero()
        rounds = [
            members[torch.randperm(len(members), generator=generator)]
            for _ in range(-(-len(places) // len(members)))
        ]
        if rounds:
            order[places.flatten()] = torch.cat(rounds)[: len(places)]
    return order


def count_occurrences(order: Tensor) -> Tensor:
    """How often each value has come before, at each place; int64, shape (N,)."""
    by_value = order.argsort(stable=True)
    values = order[by_value]
    places = torch.arange(len(order))
    fresh = torch.ones(len(order), dtype=torch.bool)
    fresh[1:] = values[1:] != values[:-1]
    first = torch.where(fresh, places, 0).cummax(dim=0).values
    occurrences = torch.empty_like(order)
    occurrences[by_value] = places - first
    return occurrences


def batch_sizes(length: int, *, batch_size: int, drop_last: bool) -> list[int]:
    """Images of each batch of an epoch, over all workers, the same in every epoch."""
    whole, rest = divmod(length, batch_size)
    return [batch_size] * whole + ([rest] if rest and not drop_last else [])


def split_batches(order: Tensor, *, batch_size: int, drop_last: bool) -> list[Tensor]:
    """Cut an order into global batches; a smaller last one is kept, or left out if so asked."""
    batches = list(order.split(batch_size))
    if drop_last and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def shard_batch(batch: Tensor, *, rank: int, world_size: int) -> Tensor:
    """One worker's part of a global batch; parts differ by at most one sample."""
    return batch if world_size == 1 else batch.tensor_split(world_size)[rank]


def _repeat_in_batches(order: Tensor, sizes: list[int], *, copies: int) -> Tensor:
    """Each batch filled with `copies` of each image; the epoch sees so many fewer images.

    All first copies come before all second ones, so that workers share an image rather than
    each having its copies to itself. Where a batch is no multiple, its last image has fewer.
    """
    batches, used = [], 0
    for size in sizes:
        images = order[used : used + -(-size // copies)]
        used += len(images)
        copy = torch.arange(len(images) * copies) % copies
        repeated, copy = images.repeat_interleave(copies)[:size], copy[:size]
        batches.append(repeated[copy.argsort(stable=True)])
    return torch.cat(batches)
