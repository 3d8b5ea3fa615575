"""Everything that an evaluation says of a network, from its logits, exact over workers.

Each worker holds the logits of its own images; sums are added over the workers before anything
is divided. What needs an order over all images (bins of equally many, halves) orders them by
sample id, so that the number of workers changes nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.nn import functional

from orchestrator.training.calibration import BINS, calibration_error, fit_temperature
from orchestrator.training.context import WorkerContext
from orchestrator.training.evaluation import Predictions
from orchestrator.training.metrics import read_tally, tally_batch


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What an evaluation says."""

    samples: int
    accuracy: float
    top5: float
    """Share of images with the true class among the five likeliest."""
    balanced_accuracy: float
    """Mean recall of the classes that have images."""
    macro_f1: float
    """Mean F1 score of the classes that have images or were named; scikit-learn's."""
    nll: float
    """Nats per image, without smoothing."""
    nll_calibrated: float
    """Nats per image after temperature scaling: fitted on one half of the images, scored on the
    other, both ways. Source: Guo et al. 2017, arXiv:1706.04599."""
    temperature: float
    """That fits all images best; above 1 the network is too sure."""
    ece: float
    """Expected calibration error of the likeliest class, bins of equal width."""
    ece_adaptive: float
    """The same, bins of equally many images. Source: Nguyen and O'Connor 2015,
    arXiv:1508.05154."""
    brier: float
    """Squared distance of the probabilities from the truth, in [0, 2]. Source: Brier 1950."""
    recall: tuple[float, ...]
    """Of each class; NaN where it has no images."""
    confusion: tuple[tuple[int, ...], ...]
    """Images of each class (row) that were taken for each class (column)."""

    def to_metrics(self, part: str) -> dict[str, float]:
        """The single numbers, each named `part/NAME`."""
        return {
            f"{part}/{name}": getattr(self, name)
            for name in (
                "accuracy",
                "top5",
                "balanced_accuracy",
                "macro_f1",
                "nll",
                "nll_calibrated",
                "temperature",
                "ece",
                "ece_adaptive",
                "brier",
            )
        }


def score_predictions(predictions: Predictions, context: WorkerContext) -> Scores:
    """Score what a network said; the same on every rank.

    Args:
        predictions: This worker's share.
        context: This worker.

    Returns:
        Everything there is to say.
    """
    logits, labels = predictions.logits.double(), predictions.labels
    classes = logits.shape[1]
    log_probabilities = logits.log_softmax(dim=1)
    confidence, named = log_probabilities.exp().max(dim=1)
    truth = functional.one_hot(labels, classes)
    distance = ((log_probabilities.exp() - truth) ** 2).sum()
    sums = torch.cat([tally_batch(logits, labels), distance[None]])
    confusion = torch.bincount(labels * classes + named, minlength=classes**2)
    everyone = _gather(predictions.ids, confidence, named == labels, context)
    halves = _halve(predictions.ids, everyone[0])
    for total in (sums, confusion):
        _add_over_workers(total, context)
    tally, brier = read_tally(sums[:-1]), float(sums[-1])
    table = confusion.reshape(classes, classes).cpu()
    by_class = _score_classes(table)
    samples = tally.samples
    return Scores(
        samples=int(samples),
        accuracy=int(table.diag().sum()) / samples,
        top5=tally.in_top5 / samples,
        balanced_accuracy=by_class.balanced_accuracy,
        macro_f1=by_class.macro_f1,
        nll=tally.nll / samples,
        nll_calibrated=_calibrated_nll(logits, labels, halves, samples, context),
        temperature=fit_temperature(logits, labels, context),
        ece=calibration_error(everyone[1], everyone[2], equal_width=True, bins=BINS),
        ece_adaptive=calibration_error(everyone[1], everyone[2], equal_width=False, bins=BINS),
        brier=brier / samples,
        recall=by_class.recall,
        confusion=tuple(tuple(row) for row in table.tolist()),
    )


@dataclass(frozen=True)
class _ByClass:
    balanced_accuracy: float
    macro_f1: float
    recall: tuple[float, ...]


def _score_classes(table: Tensor) -> _ByClass:
    right, true, named = table.diag().double(), table.sum(dim=1), table.sum(dim=0)
    recall = right / true
    present = true > 0
    seen = present | (named > 0)
    f1 = 2 * right / (true + named)
    return _ByClass(
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float(f1[seen].mean()),
        recall=tuple(recall.tolist()),
    )


def _calibrated_nll(
    logits: Tensor, labels: Tensor, halves: Tensor, samples: float, context: WorkerContext
) -> float:
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for half in (0, 1):
        fitted, scored = halves != half, halves == half
        temperature = fit_temperature(logits[fitted], labels[fitted], context)
        total += functional.cross_entropy(
            logits[scored] / temperature, labels[scored], reduction="sum"
        )
    _add_over_workers(total, context)
    return float(total) / samples


def _gather(
    ids: Tensor, confidence: Tensor, right: Tensor, context: WorkerContext
) -> tuple[Tensor, Tensor, Tensor]:
    """Every worker's ids, confidences and hits, ordered by id, on the CPU."""
    mine = [part.cpu() for part in (ids, confidence, right)]
    parts = [mine]
    if context.world_size > 1:
        parts = [[] for _ in range(context.world_size)]
        distributed.all_gather_object(parts, mine)
    ids, confidence, right = (torch.cat(list(part)) for part in zip(*parts, strict=True))
    order = ids.argsort(stable=True)
    return ids[order], confidence[order], right[order]


def _halve(ids: Tensor, everyone: Tensor) -> Tensor:
    """Half of each image, 0 or 1: every second one by id."""
    return torch.searchsorted(everyone, ids.cpu()).remainder(2).to(ids.device)


def _add_over_workers(total: Tensor, context: WorkerContext) -> None:
    if context.world_size > 1:
        distributed.all_reduce(total)
