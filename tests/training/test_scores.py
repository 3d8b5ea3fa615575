"""Every score against scikit-learn, or against its definition written out another way."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor
from torch.nn import functional

from orchestrator.training.calibration import calibration_error, fit_temperature
from orchestrator.training.context import WorkerContext
from orchestrator.training.evaluation import Predictions
from orchestrator.training.scores import Scores, score_predictions

SINGLE = WorkerContext(
    rank=0, world_size=1, device=torch.device("cpu"), report=lambda *_: "continue"
)


def predictions(images: int = 300, classes: int = 7, *, seed: int = 0) -> Predictions:
    """Scores that are right more often than not, of classes of unequal size."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(
        torch.arange(1.0, classes + 1), images, replacement=True, generator=generator
    )
    logits = torch.randn(images, classes, generator=generator)
    logits += 1.5 * functional.one_hot(labels, classes)
    return Predictions(logits, labels, torch.randperm(images, generator=generator))


def test_scores_agree_with_scikit_learn() -> None:
    """Accuracy, top five, balanced accuracy, F1, NLL, Brier, recall and confusion."""
    given = predictions()
    shares = given.logits.double().softmax(1).numpy()
    labels, named = given.labels.numpy(), given.logits.argmax(1).numpy()

    scores = score_predictions(given, SINGLE)

    assert scores.samples == 300
    expected = {
        "accuracy": reference.accuracy_score(labels, named),
        "top5": reference.top_k_accuracy_score(labels, shares, k=5),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, named),
        "macro_f1": reference.f1_score(labels, named, average="macro"),
        "nll": reference.log_loss(labels, shares),
        "brier": ((shares - np.eye(7)[labels]) ** 2).sum(axis=1).mean(),
    }
    assert {key: getattr(scores, key) for key in expected} == pytest.approx(expected, rel=1e-9)
    assert scores.recall == pytest.approx(
        reference.recall_score(labels, named, average=None), rel=1e-12
    )
    assert np.array_equal(scores.confusion, reference.confusion_matrix(labels, named))


def test_classes_without_images_count_for_nothing() -> None:
    """Of three classes one has no image and is never named: it enters no mean."""
    given = Predictions(
        torch.tensor([[2.0, 0.0, -9.0], [0.0, 2.0, -9.0], [2.0, 0.0, -9.0]]),
        torch.tensor([0, 1, 1]),
        torch.arange(3),
    )

    scores = score_predictions(given, SINGLE)

    assert scores.balanced_accuracy == pytest.approx((1 + 1 / 2) / 2)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores.recall[:2] == (1.0, 0.5)
    assert math.isnan(scores.recall[2])


def expected_error(confidence: Tensor, right: Tensor, edges: list[float]) -> float:
    """The sum over bins (a, b] of their share times |accuracy - mean confidence|."""
    total = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = right[inside].double().mean() - confidence[inside].mean()
            total += float(gap.abs() * inside.double().mean())
    return total


def test_the_calibration_error_is_its_definition() -> None:
    """Fifteen bins of equal width; and of equally many, with edges between the images."""
    given = predictions(images=300)
    confidence, named = given.logits.double().softmax(1).max(1)
    right = named == given.labels
    ordered = confidence.sort().values
    between = [(ordered[i - 1] + ordered[i]).item() / 2 for i in range(20, 300, 20)]

    scores = score_predictions(given, SINGLE)

    assert scores.ece == pytest.approx(
        expected_error(confidence, right, [i / 15 for i in range(16)]), rel=1e-9
    )
    assert scores.ece_adaptive == pytest.approx(
        expected_error(confidence, right, [0.0, *between, 1.0]), rel=1e-9
    )


def test_a_bin_holds_its_upper_edge() -> None:
    """Of two bins the first ends at 0.5: both images are sure by 0.5, one is right."""
    confidence = torch.tensor([0.5, 0.5], dtype=torch.float64)

    error = calibration_error(confidence, torch.tensor([True, False]), equal_width=True, bins=2)

    assert error == 0.0


@pytest.mark.parametrize("true_temperature", [0.25, 1.0, 8.0])
def test_the_temperature_has_the_least_nll(true_temperature: float) -> None:
    """No temperature near it, on either side, has less."""
    given = predictions(images=500)
    logits = given.logits.double() * true_temperature

    found = fit_temperature(logits, given.labels, SINGLE)

    def nll(temperature: float) -> float:
        return float(functional.cross_entropy(logits / temperature, given.labels))

    assert nll(found) < min(nll(found * 1.001), nll(found / 1.001))
    once = fit_temperature(given.logits.double(), given.labels, SINGLE)
    assert found == pytest.approx(once * true_temperature, rel=1e-9)


def test_the_temperature_of_a_network_that_never_errs_is_bounded() -> None:
    """Its NLL would be least at 0."""
    logits = 5 * torch.eye(3, dtype=torch.float64)

    assert fit_temperature(logits, torch.arange(3), SINGLE) == pytest.approx(0.05)


def test_the_calibrated_nll_is_scored_on_the_other_half() -> None:
    """Halves by sample id, every second one; each is divided by the other's temperature."""
    given = predictions()
    order = given.ids.argsort()
    logits, labels = given.logits[order].double(), given.labels[order]
    total = 0.0
    even, odd = slice(0, None, 2), slice(1, None, 2)
    for fitted, scored in ((even, odd), (odd, even)):
        temperature = fit_temperature(logits[fitted], labels[fitted], SINGLE)
        total += float(
            functional.cross_entropy(
                logits[scored] / temperature, labels[scored], reduction="sum"
            )
        )

    assert score_predictions(given, SINGLE).nll_calibrated == pytest.approx(total / 300)


def test_the_order_of_the_images_changes_nothing() -> None:
    """Scores belong to samples."""
    given = predictions()
    shuffled = torch.randperm(300, generator=torch.Generator().manual_seed(5))

    def tell(scores: Scores) -> dict[str, float]:
        return scores.to_metrics("val")

    again = Predictions(given.logits[shuffled], given.labels[shuffled], given.ids[shuffled])
    assert tell(score_predictions(again, SINGLE)) == pytest.approx(
        tell(score_predictions(given, SINGLE)), rel=1e-12
    )


def test_every_number_is_a_metric() -> None:
    """Named for the part that was scored."""
    metrics = score_predictions(predictions(), SINGLE).to_metrics("test")

    assert list(metrics) == [
        "test/accuracy",
        "test/top5",
        "test/balanced_accuracy",
        "test/macro_f1",
        "test/nll",
        "test/nll_calibrated",
        "test/temperature",
        "test/ece",
        "test/ece_adaptive",
        "test/brier",
    ]
