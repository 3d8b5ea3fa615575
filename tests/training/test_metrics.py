"""Sums and counts of an evaluation, worked by hand."""

from math import log

import pytest
import torch

from orchestrator.training.metrics import Tally, merge_tallies, read_tally, tally_batch

CPU = torch.device("cpu")
THIRDS = torch.tensor([[log(2.0), 0.0], [log(3.0), 0.0], [0.0, 0.0]])
"""Probabilities of class 0: 2/3, 3/4 and 1/2."""


def test_a_batch_is_counted_and_its_nll_summed() -> None:
    """Labels 0, 1, 0 cost ln 3/2, ln 4 and ln 2: ln 12 together; two are right."""
    tally = read_tally(tally_batch(THIRDS, torch.tensor([0, 1, 0])))

    assert (tally.samples, tally.correct) == (3, 2)
    # The scores are float32, the sum is not.
    assert tally.nll == pytest.approx(log(12), rel=1e-7)


def test_metrics_are_sums_divided_by_the_count() -> None:
    """Three of four right is 0.75; 6 nats over four images are 1.5 each."""
    metrics = Tally(samples=4, correct=3, in_top5=4, nll=6.0).to_metrics()

    assert metrics == {"val/accuracy": 0.75, "val/top5": 1.0, "val/nll": 1.5}


def test_merged_batches_equal_the_whole() -> None:
    """Batches of two and one count as the three together: no mean of means."""
    labels = torch.tensor([0, 1, 0])
    parts = [tally_batch(THIRDS[:2], labels[:2]), tally_batch(THIRDS[2:], labels[2:])]

    merged = merge_tallies(parts, device=CPU)

    torch.testing.assert_close(merged, tally_batch(THIRDS, labels), rtol=1e-15, atol=0)


def test_nothing_scored_is_zero() -> None:
    """A worker without images adds nothing."""
    assert read_tally(merge_tallies([], device=CPU)) == Tally(
        samples=0, correct=0, in_top5=0, nll=0
    )


def test_counts_are_exact_beyond_float32() -> None:
    """2**24 + 1 images are one more than 2**24."""
    many = torch.tensor([2.0**24, 2.0**24, 0.0, 0.0], dtype=torch.float64)

    merged = merge_tallies([many, tally_batch(THIRDS[:1], torch.tensor([0]))], device=CPU)

    assert merged[:2].tolist() == [2**24 + 1, 2**24 + 1]


@pytest.mark.parametrize(
    ("logits", "labels", "text"),
    [
        ((3, 2), (2,), r"logits \(3, 2\) and labels \(2,\) do not match"),
        ((3,), (3,), r"logits \(3,\) and labels \(3,\) do not match"),
        ((3, 2), (3, 1), r"logits \(3, 2\) and labels \(3, 1\) do not match"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(
    logits: tuple[int, ...], labels: tuple[int, ...], text: str
) -> None:
    """Both shapes are named."""
    with pytest.raises(ValueError, match=f"^{text}$"):
        tally_batch(torch.zeros(logits), torch.zeros(labels, dtype=torch.int64))


def test_the_top_five_are_counted() -> None:
    """Six classes of falling scores: labels 4 and 0 are among five, 5 is not."""
    logits = torch.arange(6.0).flip(0).repeat(3, 1)

    tally = read_tally(tally_batch(logits, torch.tensor([4, 5, 0])))

    assert (tally.in_top5, tally.correct) == (2, 1)
