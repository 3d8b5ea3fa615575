"""Batches as a step takes them: float images, labels and partners, on the device.

A batch is laid out over all workers first and then cut: order, augmentation and mixing belong
to the run, and a worker only ever decides which part of them it computes.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.data.mixing import Mix, draw_mix, mix_images
from orchestrator.training.data.order import Slots, batch_sizes, epoch_slots, shard_batch
from orchestrator.training.data.reading import BatchSource, Order, open_reader, send

_NOWHERE: Final = (0, 0)
"""No epoch and step of it."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One worker's part of one step."""

    images: Tensor
    """Normalised and mixed, float32, shape (B, C, H, W), on the device."""
    labels: Tensor
    """int64, shape (B,)."""
    partner_labels: Tensor | None
    """Labels of what was mixed in, int64, shape (B,); None where nothing was."""
    lam: float
    """Weight of `labels`; `partner_labels` weigh 1 - lam."""
    batch_size: int
    """Images of all workers in this step."""


@dataclass(frozen=True, eq=False)
class _Share:
    """What one worker needs of a batch."""

    slots: Slots
    """Its own images, and the partners of them that it does not own."""
    mix: Mix | None
    places: Tensor | None
    """int64, shape (2 B,): where among the slots its own images are, then their partners; None
    where nothing is mixed and the slots are its images."""
    batch_size: int


class TrainLoader:
    """The batches of every epoch of a training, of one worker.

    Args:
        images: The training images.
        plan: Key `data`, decided.
        seed: The run's seed.
        rank: Number of this worker.
        world_size: Number of workers.
        device: Where batches are wanted.
        loader_workers: Processes that prepare batches ahead; 0 prepares them here.
        epochs: The last one that is read ahead for; None where there is none.
        limit_batches: Batches of an epoch; None for all.
        overfit_batches: Take this many batches, those of the first epoch, in every epoch.

    Raises:
        TrainingError: The transforms cannot be built, or there is no batch at all.
    """

    def __init__(  # noqa: PLR0913  keywords
        self,
        images: ImageSet,
        plan: DataPlan,
        *,
        seed: int,
        rank: int,
        world_size: int,
        device: torch.device,
        loader_workers: int,
        epochs: int | None = None,
        limit_batches: int | None = None,
        overfit_batches: int | None = None,
    ) -> None:
        self._images = images
        self._plan = plan
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._device = device
        self.epochs = epochs
        """The last one that is read ahead for."""
        self._same = overfit_batches is not None
        sizes = batch_sizes(len(images), batch_size=plan.batch_size, drop_last=plan.drop_last)
        self.sizes = tuple(sizes[:overfit_batches][:limit_batches])
        """Images of all workers in each step, the same in every epoch."""
        if not self.sizes:
            raise TrainingError(
                f"data.batch_size: {len(images)} training images make no batch of "
                f"{plan.batch_size}; lower it, or set data.drop_last: false"
            )
        reader = open_reader(images, plan, train=True, seed=seed)
        self._source = BatchSource(reader, workers=loader_workers, pin=device.type == "cuda")
        self._stream: Iterator[Tensor] = iter(())
        self._next = _NOWHERE
        self._ahead: deque[_Share] = deque()

    @property
    def steps_per_epoch(self) -> int:
        """Steps of every epoch."""
        return len(self.sizes)

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, in order.

        Args:
            number: Counted from 1; any may be asked for, in any order.
            start: Batches of it that are left out, at its beginning.

        Raises:
            TrainingError: An image cannot be read or changed; names it.
        """
        if self._next != (number, start):
            self._ahead.clear()
            self._stream = self._source.read(self._orders(number, start))
        for step in range(start, len(self.sizes)):
            self._next = _NOWHERE
            pixels = next(self._stream)
            self._next = (number, step + 1)
            if step + 1 == len(self.sizes):
                self._next = _NOWHERE if number == self.epochs else (number + 1, 0)
            yield self._build_batch(self._ahead.popleft(), pixels)

    def close(self) -> None:
        """End the loader processes."""
        self._stream, self._next = iter(()), _NOWHERE
        self._source.close()

    def _orders(self, number: int, start: int) -> Iterator[Order]:
        """Of an epoch and of those after it.

        Processes prepare the first batches of one while the last of the one before it are
        trained on and validation runs: a GPU never waits for a whole batch to be prepared.
        """
        for epoch in count(number):
            if epoch > number and self.epochs is not None and epoch > self.epochs:
                return
            slots = epoch_slots(
                self._images.labels,
                self._plan,
                seed=self._seed,
                epoch=1 if self._same else epoch,
            )
            for step in range(start if epoch == number else 0, len(self.sizes)):
                share = self._share(slots[step], epoch, step)
                self._ahead.append(share)
                yield Order(share.slots.positions, share.slots.occurrences, epoch)

    def _share(self, slots: Slots, epoch: int, step: int) -> _Share:
        size = len(slots)
        mix = draw_mix(self._plan, size, seed=self._seed, epoch=epoch, step=step)
        if mix is None and self._world_size == 1:
            return _Share(slots, None, None, size)
        places = torch.arange(size)
        own = shard_batch(places, rank=self._rank, world_size=self._world_size)
        if mix is None:
            return _Share(slots.take(own), None, None, size)
        both = torch.cat([own, mix.partners[own]])
        needed, place = both.unique(return_inverse=True)
        return _Share(slots.take(needed), mix, place, size)

    def _build_batch(self, share: _Share, pixels: Tensor) -> Batch:
        device = self._device
        labels = send(self._images.labels.index_select(0, share.slots.positions), device)
        images = self._images.normalization.apply(pixels.to(device, non_blocking=True))
        if share.mix is None or share.places is None:
            return Batch(images, labels, None, 1.0, share.batch_size)
        own, partners = send(share.places, device).chunk(2)
        mixed, lam = mix_images(images[own], images[partners], share.mix)
        return Batch(mixed, labels[own], labels[partners], lam, share.batch_size)
