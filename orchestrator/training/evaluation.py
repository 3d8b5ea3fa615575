"""Scoring a network on images, each counted exactly once over all workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, distributed, nn

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.context import WorkerContext
from orchestrator.training.data.eval_loader import eval_batches, eval_positions
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.memory import release_memory
from orchestrator.training.metrics import Tally, merge_tallies, read_tally, tally_batch
from orchestrator.training.model.outputs import read_outputs
from orchestrator.training.precision import Precision
from orchestrator.training.whole_file import whole_file

AT_ONCE: Final = 512
"""Images that one worker scores at once; fewer where a GPU has no memory for them."""


@dataclass(frozen=True)
class Predictions:
    """What a network said of this worker's share of the images."""

    logits: Tensor
    """float32, shape (N, C), on the device."""
    labels: Tensor
    """int64, shape (N,), on the device."""
    ids: Tensor
    """int64, shape (N,): the samples' numbers in the data set."""


def evaluate(  # noqa: PLR0913  keywords
    model: nn.Module,
    images: ImageSet,
    plan: DataPlan,
    context: WorkerContext,
    *,
    precision: Precision,
    loader_workers: int,
    limit_batches: int | None = None,
    at_once: int = AT_ONCE,
) -> tuple[Tally, Predictions, int]:
    """Score the network and keep what it said.

    Args:
        model: The network itself; left in evaluation mode.
        images: All images to score; each worker takes every `world_size`-th.
        plan: Key `data`, decided.
        context: This worker.
        precision: How the network computes.
        loader_workers: Processes that prepare batches; 0 prepares them here.
        limit_batches: Score this many batches only; None for all.
        at_once: Images to try at once.

    Returns:
        The tally over all workers, this worker's own predictions, and how many images fitted at
        once on every worker.

    Raises:
        TrainingError: An image cannot be read or changed, or not even one fits on the device.
    """
    positions = eval_positions(
        images,
        rank=context.rank,
        world_size=context.world_size,
        limit=None if limit_batches is None else limit_batches * AT_ONCE,
    )
    load = partial(
        eval_batches, images, plan, device=context.device, loader_workers=loader_workers
    )
    model.eval()
    size, scored = 2 * at_once, None
    while scored is None:
        size //= 2
        scored = _score(model, load(positions.split(size)), precision, at_once=size)
    tallies, logits, labels = scored
    total = merge_tallies(tallies, device=context.device)
    if context.world_size > 1:
        distributed.all_reduce(total)
    predictions = Predictions(logits, labels, images.ids[positions])
    return read_tally(total), predictions, -context.largest(-size)


def _score(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    precision: Precision,
    *,
    at_once: int,
) -> tuple[list[Tensor], Tensor, Tensor] | None:
    """Tallies, logits and labels; None where a GPU has no memory for so many at once."""
    tallies, logits, truth = [], [], []
    try:
        with torch.no_grad():
            for pixels, labels in batches:
                with precision.autocast():
                    output = model(precision.lay_out(pixels))
                scores = precision.widen(read_outputs(output, model)[0])
                tallies.append(tally_batch(scores, labels))
                logits.append(scores)
                truth.append(labels)
        return tallies, torch.cat(logits), torch.cat(truth)
    except torch.OutOfMemoryError as error:
        if at_once == 1:
            raise TrainingError(
                f"out of memory with one image to score ({str(error).splitlines()[0]}); set "
                "data.image_size lower, or choose a smaller network"
            ) from error
    release_memory()
    return None


def write_predictions(predictions: Predictions, path: Path, context: WorkerContext) -> None:
    """Gather every worker's predictions and let rank 0 write them, ordered by sample id.

    The file is NumPy's archive of arrays `logits` float32 (N, C), `labels` and `ids` int64
    (N,); it loads without running code.
    """
    mine = [part.cpu().numpy() for part in vars(predictions).values()]
    gathered = [mine]
    if context.world_size > 1:
        gathered = [[] for _ in range(context.world_size)]
        distributed.all_gather_object(gathered, mine)
    if context.rank != 0:
        return
    logits, labels, ids = (np.concatenate(part) for part in zip(*gathered, strict=True))
    order = np.argsort(ids, kind="stable")
    with whole_file(path, key="results") as unfinished, unfinished.path.open("wb") as file:
        np.savez(file, logits=logits[order], labels=labels[order], ids=ids[order])
