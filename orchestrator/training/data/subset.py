"""Which of the training images are learned from, and which of their labels are redrawn.

Both come from the run's seed, each from a stream of its own: noise leaves the choice of images
alone, and a larger subset contains the smaller one.
"""

import torch
from torch import Tensor

from orchestrator.training import streams


def stratified_subset(labels: Tensor, size: int, *, seed: int) -> Tensor:
    """Positions of `size` samples, every class in the proportion that it has.

    Args:
        labels: int64, shape (N,).
        size: Samples to choose, at most N.
        seed: The run's seed.

    Returns:
        Ascending positions, int64, shape (size,).
    """
    order = torch.randperm(
        len(labels), generator=streams.stream_generator(seed, streams.SUBSET)
    )
    # Sorting by each sample's rank within its class, as a fraction of the class, interleaves
    # the classes in proportion; a prefix of any length is then stratified.
    shuffled = labels[order]
    by_class = shuffled.argsort(stable=True)
    counts = shuffled.bincount()
    first = counts.cumsum(0) - counts
    classes = shuffled[by_class]
    rank = torch.arange(len(labels)) - first[classes]
    fraction = torch.empty(len(labels), dtype=torch.float64)
    fraction[by_class] = (rank + 0.5).double() / counts[classes]
    return order[fraction.argsort(stable=True)[:size]].sort().values


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
