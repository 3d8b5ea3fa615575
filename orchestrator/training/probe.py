"""How well features separate the classes: nearest neighbours, and a linear classifier.

Both are fitted on the rows of one part and scored on those of another. Features are
standardised by the former, so that no layer wins by its scale, and read in blocks: the arrays
may be larger than memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Probe = Literal["knn", "linear"]
Array = np.ndarray

NEIGHBOURS: Final = 20
"""Neighbours that vote."""
STRENGTH: Final = 1.0
"""Factor of half the squared weights in the linear probe's loss, a sum over images."""
_BLOCK: Final = 1 << 24
"""Values that are held in memory at once, 128 MiB."""
_QUERIES: Final = 512
_STEPS: Final = 500


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """How often a probe named the true class."""

    correct: int
    samples: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct / self.samples

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of the accuracy. Source: Wilson 1927, JASA 22:209-212."""
        z = NormalDist().inv_cdf((1 + level) / 2)
        n, p = self.samples, self.accuracy
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
        # At the ends of the scale a bound is the accuracy itself, which rounding would miss.
        return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


@dataclass(frozen=True)
class Labelled:
    """Rows of features and their classes."""

    values: Array
    """Shape (N, ...); may be mapped from a file."""
    labels: Array
    """Class indices, int64, shape (N,)."""

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        if len(self.values) != len(self.labels) or not len(self.labels):
            raise ValueError(f"{len(self.values)} rows, {len(self.labels)} labels")


def score_probe(probe: Probe, fitted: Labelled, scored: Labelled) -> ProbeScore:
    """Fit a probe on some rows and score it on others; the same at every call.

    Args:
        probe: `knn`, the 20 nearest neighbours, each with the inverse of its distance as its
            vote; `linear`, multinomial logistic regression.
        fitted: Rows to learn from.
        scored: Rows to score.
    """
    name = name_by_neighbours if probe == "knn" else name_by_regression
    named = name(fitted, scored.values)
    correct = int((named == torch.from_numpy(np.asarray(scored.labels))).sum())
    return ProbeScore(correct=correct, samples=len(scored.labels))


def name_by_neighbours(
    fitted: Labelled, values: Array, *, neighbours: int = NEIGHBOURS
) -> Tensor:
    """Classes by a vote of the nearest rows in Euclidean distance, each weighing its inverse.

    Rows at no distance at all outvote the others, as in scikit-learn.

    Args:
        fitted: Rows that vote.
        values: Rows to name, shape (M, ...).
        neighbours: How many vote; all where there are fewer.

    Returns:
        Class indices, int64, shape (M,).
    """
    scale = _standardize(fitted.values)
    labels = torch.from_numpy(np.asarray(fitted.labels))
    count, classes = min(neighbours, len(labels)), int(labels.max()) + 1
    named = []
    for start in range(0, len(values), _QUERIES):
        queries = scale(values[start : start + _QUERIES])
        squares, rows = _nearest(queries, fitted.values, scale, count)
        distances = squares.sqrt()
        same = distances == 0
        votes = torch.where(same.any(dim=1, keepdim=True), same.double(), 1 / distances)
        ballot = torch.zeros(len(queries), classes, dtype=torch.float64)
        named.append(ballot.scatter_add_(1, labels[rows], votes).argmax(dim=1))
    return torch.cat(named)


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """|a - b|² of every pair of rows as |a|² + |b|² - 2 a·b, one matrix product.

    Args:
        left: float64, shape (M, D).
        right: float64, shape (N, D).

    Returns:
        Shape (M, N), none below 0, which rounding would allow.
    """
    squares = (left**2).sum(dim=1)[:, None] + (right**2).sum(dim=1)
    return squares.addmm_(left, right.T, alpha=-2).clamp_(min=0)


def name_by_regression(
    fitted: Labelled, values: Array, *, strength: float = STRENGTH
) -> Tensor:
    """Classes by multinomial logistic regression.

    It minimises sum of cross-entropies + strength / 2 · |W|², the intercepts free; scikit-learn
    has the inverse of the strength as `C`.

    Args:
        fitted: Rows to learn from.
        values: Rows to name, shape (M, ...).
        strength: Factor of the penalty.

    Returns:
        Class indices, int64, shape (M,).
    """
    scale = _standardize(fitted.values)
    weight, bias = fit_regression(fitted, scale, strength=strength)
    named = [(scale(block) @ weight + bias).argmax(dim=1) for block in _blocks(values)]
    return torch.cat(named)


def fit_regression(
    fitted: Labelled, scale: Callable[[Array], Tensor], *, strength: float
) -> tuple[Tensor, Tensor]:
    """Weights, float64, shape (D, C), and intercepts, shape (C,), by L-BFGS from zero.

    Args:
        fitted: Rows to learn from.
        scale: Makes rows float64, shape (B, D).
        strength: Factor of the penalty.
    """
    labels = torch.from_numpy(np.asarray(fitted.labels))
    classes, features = int(labels.max()) + 1, int(np.prod(fitted.values.shape[1:]))
    weight = torch.zeros(features, classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_STEPS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss_per_image() -> Tensor:
        optimizer.zero_grad()
        penalty = strength / 2 * (weight**2).sum() / len(labels)
        penalty.backward()
        total, first = penalty.detach(), 0
        for block in _blocks(fitted.values):
            rows = labels[first : first + len(block)]
            scores = scale(block) @ weight + bias
            loss = functional.cross_entropy(scores, rows, reduction="sum") / len(labels)
            # Block by block, so that only one is held.
            loss.backward()
            total, first = total + loss.detach(), first + len(block)
        return total

    optimizer.step(loss_per_image)
    return weight.detach(), bias.detach()


def _nearest(
    queries: Tensor, rows: Array, scale: Callable[[Array], Tensor], count: int
) -> tuple[Tensor, Tensor]:
    """Squared distances and numbers of the nearest rows, each shape (M, count)."""
    squares = torch.empty(len(queries), 0, dtype=torch.float64)
    numbers = torch.empty(len(queries), 0, dtype=torch.int64)
    first = 0
    for block in _blocks(rows):
        new = torch.arange(first, first + len(block)).expand(len(queries), -1)
        squares = torch.cat([squares, squared_distances(queries, scale(block))], dim=1)
        numbers = torch.cat([numbers, new], dim=1)
        squares, best = squares.topk(min(count, squares.shape[1]), dim=1, largest=False)
        numbers = numbers.gather(1, best)
        first += len(block)
    return squares, numbers


def _standardize(values: Array) -> Callable[[Array], Tensor]:
    """Subtracts the mean of these rows and divides by their spread, where there is any."""
    total, count = torch.zeros((), dtype=torch.float64), len(values)
    for block in _blocks(values):
        total = total + _widen(block).sum(dim=0)
    mean, squares = total / count, torch.zeros_like(total)
    for block in _blocks(values):
        squares += ((_widen(block) - mean) ** 2).sum(dim=0)
    spread = (squares / count).sqrt()
    # A channel that is always the same, such as one that a ReLU has closed, tells nothing.
    spread[spread <= 1e-12 * mean.abs()] = 1.0
    return lambda block: (_widen(block) - mean) / spread


def _widen(block: Array) -> Tensor:
    return torch.from_numpy(np.asarray(block, dtype=np.float64)).flatten(1)


def _blocks(values: Array) -> Iterator[Array]:
    size = max(1, _BLOCK // max(1, int(np.prod(values.shape[1:])), _QUERIES))
    for start in range(0, len(values), size):
        yield values[start : start + size]
