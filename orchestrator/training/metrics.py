"""Sums and counts of an evaluation, exact over workers of unequal load.

Averages are divided only at the end: a mean of per-worker means is wrong as soon as one worker
saw fewer images, and a sampler that pads to equal counts scores some twice. These are the
metrics of every epoch; `scores.py` has those that are worth their time at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_SUMS = 4


@dataclass(frozen=True)
class Tally:
    """Sums over the images scored so far."""

    samples: float
    correct: float
    in_top5: float
    """Images with the true class among the five likeliest."""
    nll: float
    """Negative log-likelihood in nats, summed over the images."""

    def to_metrics(self) -> dict[str, float]:
        """`val/accuracy` and `val/top5` in [0, 1], `val/nll` in nats per image."""
        return {
            "val/accuracy": self.correct / self.samples,
            "val/top5": self.in_top5 / self.samples,
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
        Number of images, number correct, number in the top five, summed NLL in nats; float64,
        shape (4,), on the logits' device: nothing waits for it here.

    Raises:
        ValueError: The two shapes do not belong together.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not match"
        )
    correct = (logits.argmax(dim=1) == labels).sum()
    likeliest = logits.topk(min(5, logits.shape[1]), dim=1).indices
    in_top5 = (likeliest == labels[:, None]).sum()
    nll = functional.cross_entropy(logits.double(), labels, reduction="sum")
    # float64 counts exactly up to 2**53 images; float32 would stop at 2**24.
    samples = torch.tensor(len(labels), device=nll.device).double()
    return torch.stack([samples, correct, in_top5, nll])


def merge_tallies(tallies: Iterable[Tensor], *, device: torch.device) -> Tensor:
    """Sum of `tally_batch` results; float64, shape (4,), zeros for none."""
    return sum(tallies, torch.zeros(_SUMS, dtype=torch.float64, device=device))


def read_tally(total: Tensor) -> Tally:
    """The sums as numbers; the one place that waits for the device."""
    samples, correct, in_top5, nll = total.tolist()
    return Tally(samples=samples, correct=correct, in_top5=in_top5, nll=nll)
