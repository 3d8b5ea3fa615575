"""Batches of uint8 pixels, read and augmented, here or in loader processes.

An image is augmented with generators seeded by what it is (run's seed, epoch, sample, how often
the epoch has had it), so that neither the number of processes nor the cut into batches can be
seen in a pixel. The process's own generators are put back after each batch: layers such as
dropout draw from them too.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.data.transforms import Pipeline
from orchestrator.training.streams import derive_seed

AUGMENTATION: Final = "augmentation"
"""Name of the stream that steps of transforms draw from."""


@dataclass(frozen=True, eq=False, slots=True)
class Order:
    """What to read."""

    positions: Tensor
    """int64, shape (B,): positions in the image set."""
    occurrences: Tensor
    """int64, shape (B,): how often the epoch has had the image before."""
    epoch: int

    def __reduce__(self) -> tuple[Any, ...]:
        """Crosses as plain numbers: tensors would each cross as an open file."""
        return _unpack_order, (self.positions.numpy(), self.occurrences.numpy(), self.epoch)


def _unpack_order(positions: np.ndarray, occurrences: np.ndarray, epoch: int) -> Order:
    return Order(torch.from_numpy(positions), torch.from_numpy(occurrences), epoch)


class _Failure(NamedTuple):
    """The user's mistake, met in a loader process, which would wrap it in a traceback."""

    message: str


class BatchReader(Dataset[Any]):
    """Whole batches as items, so that a loader process answers once per batch.

    Args:
        images: What to read from.
        pipeline: What each image goes through.
        seed: The run's seed, for augmentation.
    """

    def __init__(self, images: ImageSet, pipeline: Pipeline, *, seed: int) -> None:
        self._images = images
        self._pipeline = pipeline
        self._seed = seed
        whole = images.pixels.whole
        self._as_they_are = whole is not None and pipeline.keeps(*whole.shape[-2:])

    def __getitem__(self, order: Order) -> Tensor | _Failure:
        """A batch's pixels, or why there are none: for loader processes."""
        try:
            return self.read(order)
        except TrainingError as error:
            return _Failure(str(error))

    def read(self, order: Order) -> Tensor:
        """A batch's pixels, uint8, shape (B, C, H, W).

        Raises:
            TrainingError: An image cannot be read or changed, or the sizes differ.
        """
        rows = self._images.rows.index_select(0, order.positions)
        whole = self._images.pixels.whole
        if self._as_they_are and whole is not None:
            return _gather(whole, rows)
        ids = self._images.ids[order.positions].tolist()
        everything = self._pipeline.draws_elsewhere or self._images.pixels.draws
        images = []
        with preserved_generators(everything=everything):
            for row, sample, nth in zip(
                rows.tolist(), ids, order.occurrences.tolist(), strict=True
            ):
                seed = derive_seed(self._seed, AUGMENTATION, order.epoch, sample, nth)
                _seed_generators(seed, everything=everything)
                images.append(self._read_one(row))
        return _stack(images)

    def _read_one(self, row: int) -> Tensor:
        pixels = self._images.pixels
        image = pixels.read(row)
        try:
            return self._pipeline(image)
        except TrainingError as error:
            raise TrainingError(f"{error}, on {pixels.describe(row)}") from error


def open_reader(images: ImageSet, plan: DataPlan, *, train: bool, seed: int) -> BatchReader:
    """What reads batches and changes each image by the steps of training or of evaluation.

    Raises:
        TrainingError: The transforms cannot be built.
    """
    pipeline = Pipeline(
        plan.train_transforms if train else plan.eval_transforms,
        mean_pixel=images.normalization.mean_pixel(),
        sources=images.sources,
    )
    return BatchReader(images, pipeline, seed=seed)


def send(numbers: Tensor, device: torch.device) -> Tensor:
    """Numbers on the device, by a copy that waits for nothing that the device still does."""
    if device.type == "cuda":
        numbers = numbers.pin_memory()
    return numbers.to(device, non_blocking=True)


class BatchSource:
    """Prepares one row of batches after another; its processes live until it is closed.

    Args:
        reader: What prepares a batch.
        workers: Processes that prepare ahead; 0 prepares here.
        pin: Whether to hand batches over in memory that a GPU copies from by itself.
    """

    def __init__(self, reader: BatchReader, *, workers: int, pin: bool) -> None:
        self._reader = reader
        self._pin = pin
        self._sampler = _OrderSampler()
        self._loader: DataLoader[Any] | None = None
        if workers > 0:
            self._loader = DataLoader(
                reader,
                batch_size=None,
                sampler=self._sampler,
                num_workers=workers,
                persistent_workers=True,
                pin_memory=pin,
                # Its own generator: the default draws a base seed from the global one.
                generator=torch.Generator(),
            )

    def read(self, orders: Iterable[Order]) -> Iterator[Tensor]:
        """The pixels of each batch, in order; uint8, shape (B, C, H, W).

        Processes prepare a few batches ahead; another call ends what this one has begun.

        Raises:
            TrainingError: The user's mistake, wherever it was met; a process was killed.
        """
        if self._loader is None:
            for order in orders:
                pixels = self._reader.read(order)
                yield pixels.pin_memory() if self._pin else pixels
            return
        self._sampler.orders = orders
        try:
            for item in self._loader:
                if isinstance(item, _Failure):
                    raise TrainingError(item.message)
                yield item
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            text = str(error).split("\n")[0]
            raise TrainingError(
                f"data.loader_workers: a loader process died ({text}); it may have run out of "
                "memory: try fewer"
            ) from error

    def close(self) -> None:
        """End the processes; what is read afterwards is prepared here."""
        # The loader's iterator ends its processes when nothing holds it any more.
        self._loader = None


class _OrderSampler(Sampler[Order]):
    """Hands out the orders of the pass that begins."""

    def __init__(self) -> None:
        self.orders: Iterable[Order] = ()

    def __iter__(self) -> Iterator[Order]:
        return iter(self.orders)


@contextmanager
def preserved_generators(*, everything: bool) -> Iterator[None]:
    """Put back torch's global CPU generator; with `everything`, Python's and NumPy's too."""
    state = torch.get_rng_state()
    others = (random.getstate(), np.random.get_state()) if everything else None  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(state)
        if others is not None:
            random.setstate(others[0])
            np.random.set_state(others[1])  # noqa: NPY002


def _seed_generators(seed: int, *, everything: bool) -> None:
    # Not torch.manual_seed, which seeds every device that there is, image by image.
    torch.default_generator.manual_seed(seed)
    if everything:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  own code may draw from this one


def _gather(whole: Tensor, rows: Tensor) -> Tensor:
    """Rows of images that may be strided as (H, W, C), which plain indexing copies slowly."""
    if whole.is_contiguous():
        return whole.index_select(0, rows)
    return whole.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)


def _stack(images: list[Tensor]) -> Tensor:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        first, second = sorted(shapes)[:2]
        raise TrainingError(
            f"data.transforms: leave images of different shapes, such as {first} and {second}; "
            "end with a step that makes one size, such as {Resize: {size: [H, W]}}"
        )
    return torch.stack(images)
