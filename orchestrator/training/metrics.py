"""Sums and counts of an evaluation, exact over workers of unequal load.

Averages are divided only at the end: a mean of per-worker means is wrong as soon as one worker
saw fewer images, and a sampler that pads to equal counts scores some twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Tally:
    """Sums over the images scored so far."""

    samples: float
    correct: float
    nll: float
    """Negative log-likelihood in nats, summed over the images."""

    def to_metrics(self) -> dict[str, float]:
        """`val/accuracy` in [0, 1] and `val/nll` in nats per image."""
        return {
            "val/accuracy": self.correct / self.samples,
            "val/nll": self.nll / self.samples,
        }


def tally_batch(logits: Tensor, labels: Tensor) -> Tensor:
    """Score one batch against hard labels.

    The loss is plain cross-entropy, whatever smoothing the model was trained with, so that runs
    with different smoothing stay comparable.

    Args:
        logits: Unnormalized class scores, float, shape (B, C).
        labels: Class indices in [0, C), int64, shape (B,).

    Returns:
        Number of images, number correct, summed NLL in nats; float64, shape (3,), on the
        logits' device: nothing waits for it here.

    Raises:
        ValueError: The two shapes do not belong together.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not match"
        )
    correct = (logits.argmax(dim=1) == labels).sum()
    nll = functional.cross_entropy(logits.double(), labels, reduction="sum")
    # float64 counts exactly up to 2**53 images; float32 would stop at 2**24.
    return torch.stack([torch.tensor(len(labels), device=nll.device).double(), correct, nll])


def merge_tallies(tallies: Iterable[Tensor], *, device: torch.device) -> Tensor:
    """Sum of `tally_batch` results; float64, shape (3,), zeros for none."""
    return sum(tallies, torch.zeros(3, dtype=torch.float64, device=device))


def read_tally(total: Tensor) -> Tally:
    """The sums as numbers; the one place that waits for the device."""
    samples, correct, nll = total.tolist()
    return Tally(samples=samples, correct=correct, nll=nll)
