"""Key `data`: the images of a run, as uint8 tensors in memory, and its batches.

Which images are trained on and which labels are redrawn come from the run's seed; the split
into training, validation and test images is fixed and stored with the data. Images stay uint8
until a batch is made of them: a quarter of the memory of float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from orchestrator.planning.run_plan import DataPlan
from orchestrator.training import streams

_DIGITS = Path(__file__).with_name("digits.npz")


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in memory."""

    images: Tensor
    """uint8, shape (N, C, H, W)."""
    labels: Tensor
    """int64, shape (N,), in [0, num_classes)."""
    ids: Tensor
    """int64, shape (N,): the sample's number in the whole data set."""

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.labels)

    def select(self, indices: Tensor) -> "ImageSet":
        """The samples at these positions, in this order; `indices` int64, shape (M,)."""
        return ImageSet(self.images[indices], self.labels[indices], self.ids[indices])


@dataclass(frozen=True)
class RunData:
    """What one run trains on and is judged by."""

    train: ImageSet
    val: ImageSet


def build_data(plan: DataPlan, *, seed: int) -> RunData:
    """The training and validation images of a run.

    Validation labels are never touched: noise is a property of what is learned from.

    Args:
        plan: Key `data`, decided.
        seed: The run's seed, which draws the subset and the redrawn labels.
    """
    train, val = _load_digits(plan.image_size, plan.channels)
    chosen = train.select(_stratified_subset(train.labels, plan.train_size, seed=seed))
    labels = redraw_labels(
        chosen.labels, share=plan.label_noise, num_classes=plan.num_classes, seed=seed
    )
    return RunData(ImageSet(chosen.images, labels, chosen.ids), val)


def redraw_labels(labels: Tensor, *, share: float, num_classes: int, seed: int) -> Tensor:
    """Labels of which a share is drawn anew, uniformly over all classes, the true one included.

    Args:
        labels: int64, shape (N,).
        share: Share of the labels to redraw, 0 <= share < 1; rounded to whole images.
        num_classes: Number of classes.
        seed: The run's seed.

    Returns:
        A new tensor, int64, shape (N,).
    """
    generator = streams.stream_generator(seed, streams.LABEL_NOISE)
    redrawn = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    noisy = labels.clone()
    noisy[redrawn] = torch.randint(num_classes, (len(redrawn),), generator=generator)
    return noisy


def epoch_order(length: int, *, seed: int, epoch: int) -> Tensor:
    """The order of the samples in one epoch: of (seed, epoch) alone; int64, shape (length,)."""
    return torch.randperm(
        length, generator=streams.stream_generator(seed, streams.ORDER, epoch)
    )


def split_batches(order: Tensor, *, batch_size: int, drop_last: bool) -> list[Tensor]:
    """Cut an order into global batches; a smaller last one is kept, or left out if so asked."""
    batches = list(order.split(batch_size))
    if drop_last and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def shard_batch(batch: Tensor, *, rank: int, world_size: int) -> Tensor:
    """One worker's part of a global batch; parts differ by at most one sample."""
    return batch if world_size == 1 else batch.tensor_split(world_size)[rank]


def load_batches(
    images: ImageSet, batches: list[Tensor], *, device: torch.device, loader_workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Float images and labels of each batch, in order, on the device.

    Args:
        images: Where the samples come from.
        batches: Positions in `images`, int64, one tensor (B,) a batch.
        device: Where the batch is wanted.
        loader_workers: Processes that prepare batches ahead; 0 prepares them here.

    Yields:
        Images in [0, 1], float32, shape (B, C, H, W), and labels, int64, shape (B,).
    """
    source = _BatchDataset(images, batches)
    if loader_workers == 0:
        prepared: Iterator[tuple[Tensor, Tensor]] = (source[i] for i in range(len(batches)))
    else:
        prepared = iter(
            DataLoader(
                source,
                batch_size=None,
                num_workers=loader_workers,
                pin_memory=device.type == "cuda",
                # Its own generator: the default draws a base seed from the global one.
                generator=torch.Generator(),
            )
        )
    for pixels, labels in prepared:
        yield pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)


class _BatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches as items, so that a loader process indexes once per batch."""

    def __init__(self, images: ImageSet, batches: list[Tensor]) -> None:
        self._images = images
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        positions = self._batches[index]
        pixels = self._images.images[positions].to(torch.float32).div_(255)
        return pixels, self._images.labels[positions]


@lru_cache(maxsize=8)
def _load_digits(image_size: int, channels: int) -> tuple[ImageSet, ImageSet]:
    # A warm lane asks for the same images run after run; nobody writes into them.
    with np.load(_DIGITS) as stored:
        # The scans count dark pixels, 0 to 16, in 4 x 4 blocks.
        pixels = torch.from_numpy(np.rint(stored["images"] * (255 / 16)).astype(np.uint8))
        labels = torch.from_numpy(stored["labels"].astype(np.int64))
        positions = [
            torch.from_numpy(stored[part].astype(np.int64)) for part in ("train", "val")
        ]
    images = _resize(pixels[:, None], image_size).expand(-1, channels, -1, -1).contiguous()
    everything = ImageSet(images, labels, torch.arange(len(labels)))
    train, val = (everything.select(part) for part in positions)
    return train, val


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    resized = functional.interpolate(
        images.float(), size=(size, size), mode="bilinear", antialias=True
    )
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _stratified_subset(labels: Tensor, size: int, *, seed: int) -> Tensor:
    """Positions of `size` samples, every class in the proportion that it has, shape (size,)."""
    order = torch.randperm(
        len(labels), generator=streams.stream_generator(seed, streams.SUBSET)
    )
    # Sorting by each sample's rank within its class, as a fraction of the class, interleaves
    # the classes in proportion; a prefix of any length is then stratified.
    shuffled = labels[order]
    fraction = torch.empty(len(labels), dtype=torch.float64)
    for value in shuffled.unique():
        members = (shuffled == value).nonzero().flatten()
        fraction[members] = (torch.arange(len(members)) + 0.5).double() / len(members)
    return order[fraction.argsort(stable=True)[:size]].sort().values
