"""How far a network's probabilities can be trusted: temperature and calibration error."""

from typing import Final

import torch
from torch import Tensor, distributed

from orchestrator.training.context import WorkerContext

BINS: Final = 15
"""Bins of the calibration error. Source: Guo et al. 2017, arXiv:1706.04599."""
_SHARPEST: Final = 20.0
"""Largest factor on logits. A network that never errs on few images would be best at infinity,
and a single error among the others would then cost without bound."""
_BLUNTEST: Final = 0.001
"""Least factor on logits."""
_STEPS: Final = 60


def calibration_error(
    confidence: Tensor, right: Tensor, *, equal_width: bool, bins: int
) -> float:
    """Mean distance between how sure the network is and how often it is right, over bins.

    Args:
        confidence: Probability of the likeliest class, float64, shape (N,).
        right: Whether that class is the true one, bool, shape (N,).
        equal_width: Bins (0, 1/bins], (1/bins, 2/bins], ...; else bins of equally many images
            in the order of confidence.
        bins: Their number.

    Returns:
        Sum over the bins of their share of the images times |accuracy - mean confidence|.
    """
    if equal_width:
        edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)[1:-1]
        places = torch.bucketize(confidence, edges)
    else:
        ranks = torch.empty(len(confidence), dtype=torch.int64)
        ranks[confidence.argsort(stable=True)] = torch.arange(len(confidence))
        places = ranks * bins // len(confidence)
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, places, right.double() - confidence.double())
    return float(gaps.abs().sum() / len(confidence))


def fit_temperature(logits: Tensor, labels: Tensor, context: WorkerContext) -> float:
    """The temperature that divides the logits for the least NLL over all workers' images.

    The NLL is convex in the inverse temperature b, with slope mean(E_p[z] - z_y) for logits z
    and p = softmax(b z); the root of the slope is bracketed and found by Newton's method, or by
    bisection where that leaves the bracket.

    Args:
        logits: This worker's, float64, shape (N, C); N may be 0.
        labels: int64, shape (N,).
        context: This worker.

    Returns:
        The temperature, between 0.05 and 1000.
    """
    low, high, inverse = _BLUNTEST, _SHARPEST, 1.0
    for _ in range(_STEPS):
        slope, curvature = _slope(logits, labels, inverse, context)
        if slope > 0:
            high = inverse
        else:
            low = inverse
        step = inverse - slope / curvature if curvature > 0 else 0.0
        # A bisection in the logarithm: the bracket spans six decades.
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def _slope(
    logits: Tensor, labels: Tensor, inverse: float, context: WorkerContext
) -> tuple[float, float]:
    """First and second derivative of the summed NLL by the inverse temperature."""
    probabilities = (inverse * logits).softmax(dim=1)
    mean = (probabilities * logits).sum(dim=1)
    variance = (probabilities * (logits - mean[:, None]) ** 2).sum(dim=1)
    own = logits.gather(1, labels[:, None])[:, 0]
    sums = torch.stack([(mean - own).sum(), variance.sum()])
    if context.world_size > 1:
        distributed.all_reduce(sums)
    slope, curvature = sums.tolist()
    return slope, curvature
