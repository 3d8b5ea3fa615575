"""Scoring: every image exactly once, whatever the number of workers."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import TrainingError
from orchestrator.training import evaluation
from orchestrator.training.context import Verdict, WorkerContext
from orchestrator.training.data.image_set import ImageSet, TensorPixels
from orchestrator.training.precision import Precision
from tests import plans


class Pixel(nn.Module):
    """Says class 1 of a bright image and class 0 of a dark one; cannot learn."""

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, 2) of images (B, 1, 1, 1)."""
        bright = images.flatten()
        return torch.stack([1 - bright, bright], dim=1)


def never_called(epoch: int, metrics: Mapping[str, float]) -> Verdict:
    """Scoring reports nothing."""
    raise AssertionError((epoch, metrics))


SINGLE = WorkerContext(rank=0, world_size=1, device=torch.device("cpu"), report=never_called)
FLOAT32 = Precision.of("float32", torch.device("cpu"), channels_last=False)
FIVE = ImageSet(
    TensorPixels(torch.tensor([0, 255, 255, 0, 255], dtype=torch.uint8).view(5, 1, 1, 1)),
    rows=torch.arange(5),
    labels=torch.tensor([0, 1, 0, 1, 1]),
    ids=torch.tensor([40, 10, 30, 20, 50]),
)
"""Images 40, 10 and 50 are said rightly: three of five."""


def score(limit_batches: int | None = None) -> tuple[dict[str, float], evaluation.Predictions]:
    """Metrics and predictions of the five images."""
    tally, predictions, _ = evaluation.evaluate(
        Pixel(),
        FIVE,
        plans.data_plan(),
        SINGLE,
        precision=FLOAT32,
        loader_workers=0,
        limit_batches=limit_batches,
    )
    assert tally.samples == len(predictions.ids)
    return tally.to_metrics(), predictions


def test_each_image_is_scored_once() -> None:
    """Three of five are right, and what was said comes with labels and ids."""
    metrics, predictions = score()

    assert metrics["val/accuracy"] == 3 / 5
    assert predictions.ids.tolist() == [40, 10, 30, 20, 50]
    assert predictions.labels.tolist() == [0, 1, 0, 1, 1]
    assert predictions.logits.argmax(dim=1).tolist() == [0, 1, 1, 0, 1]


def test_the_network_is_scored_as_it_will_be_used() -> None:
    """Dropout is off while scoring; statistics do not move."""
    modes: list[bool] = []
    model = nn.Sequential(Pixel(), nn.BatchNorm1d(2))
    model[1].register_forward_hook(lambda module, *_: modes.append(module.training))

    evaluation.evaluate(
        model, FIVE, plans.data_plan(), SINGLE, precision=FLOAT32, loader_workers=0
    )

    assert modes == [False]
    assert int(dict(model.named_buffers())["1.num_batches_tracked"]) == 0


@pytest.mark.parametrize("verdict", ["continue", "stop"])
def test_a_single_worker_passes_its_verdict_on(
    verdict: Verdict, make_report: Callable[[Verdict], WorkerContext]
) -> None:
    """Without peers nothing is broadcast."""
    assert make_report(verdict).report_epoch(1, {"x": 1.0}) == verdict


@pytest.fixture
def make_report() -> Callable[[Verdict], WorkerContext]:
    """Builds a single worker whose reports are all answered alike."""

    def make(verdict: Verdict) -> WorkerContext:
        return WorkerContext(
            rank=0, world_size=1, device=torch.device("cpu"), report=lambda *_: verdict
        )

    return make


class Tight(Pixel):
    """Has memory for so many images at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        """As its parent, or not at all."""
        self.seen.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(images)


def test_what_does_not_fit_is_scored_in_smaller_batches() -> None:
    """Each image still once, and with the same result."""
    model = Tight(2)
    arguments = (FIVE, plans.data_plan(), SINGLE)

    tally, predictions, at_once = evaluation.evaluate(
        model, *arguments, precision=FLOAT32, loader_workers=0
    )

    metrics, expected = score()
    assert tally.to_metrics() == pytest.approx(metrics, rel=1e-12)
    assert torch.equal(predictions.logits, expected.logits)
    assert torch.equal(predictions.ids, expected.ids)
    assert (model.seen[-3:], at_once) == ([2, 2, 1], 2)
    with pytest.raises(TrainingError, match=r"^out of memory with one image to score \(CUDA"):
        evaluation.evaluate(Tight(0), *arguments, precision=FLOAT32, loader_workers=0)
