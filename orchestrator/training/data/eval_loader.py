"""Batches of images that are scored, each once over all workers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.data.reading import BatchSource, Order, open_reader, send


def eval_positions(
    images: ImageSet, *, rank: int, world_size: int, limit: int | None = None
) -> Tensor:
    """Positions that a worker scores, int64, shape (N,): all workers have each one once.

    Args:
        images: What to score; each worker takes every `world_size`-th.
        rank: Number of this worker.
        world_size: Number of workers.
        limit: Images of this worker; None for all.
    """
    return torch.arange(rank, len(images), world_size)[:limit]


def eval_batches(
    images: ImageSet,
    plan: DataPlan,
    batches: Sequence[Tensor],
    *,
    device: torch.device,
    loader_workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images changed by the steps of evaluation, batch by batch.

    Args:
        images: What to score.
        plan: Key `data`, decided.
        batches: Positions of the images of each batch, int64, shape (B,).
        device: Where batches are wanted.
        loader_workers: Processes that prepare batches; 0 prepares them here.

    Yields:
        Normalised images, float32, shape (B, C, H, W), and labels, int64, shape (B,).

    Raises:
        TrainingError: An image cannot be read or changed; names it.
    """
    # One seed and one epoch for all: an own step that draws draws alike at every scoring.
    reader = open_reader(images, plan, train=False, seed=0)
    source = BatchSource(reader, workers=loader_workers, pin=device.type == "cuda")
    orders = [Order(batch, torch.zeros_like(batch), 0) for batch in batches]
    try:
        for batch, pixels in zip(batches, source.read(orders), strict=True):
            yield (
                images.normalization.apply(pixels.to(device, non_blocking=True)),
                send(images.labels[batch], device),
            )
    finally:
        source.close()
