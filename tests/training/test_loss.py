"""Key `loss`: against cross-entropy written out by hand, and over unequal shares of a batch."""

from math import log

import pytest
import torch
from torch import Tensor

from orchestrator.training.loss import build_loss, weight_share


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The mean of -sum_k q_k log p_k with q = (1 - s) one-hot + s / C, written out."""
    total = torch.zeros((), dtype=logits.dtype)
    for scores, label in zip(logits, labels, strict=True):
        shares = scores.exp() / scores.exp().sum()
        for k, share in enumerate(shares):
            target = (1 - smoothing) * (k == int(label)) + smoothing / len(shares)
            total = total - target * share.log()
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_the_loss_is_cross_entropy_against_smoothed_targets(smoothing: float) -> None:
    """Value and gradient agree with the sum written out in float64."""
    logits = torch.tensor(
        [[0.3, -1.2, 2.0], [0.0, 0.5, -0.5]], dtype=torch.float64, requires_grad=True
    )
    labels = torch.tensor([0, 2])

    loss = build_loss(label_smoothing=smoothing)(logits, labels)
    expected = smoothed_cross_entropy(logits, labels, smoothing)

    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(
        torch.autograd.grad(loss, logits),
        torch.autograd.grad(expected, logits),
        rtol=1e-14,
        atol=1e-14,
    )


def test_the_gradient_is_probability_minus_target() -> None:
    """Equal scores of four classes have p = 1/4; with s = 0.4 the targets are 0.7 and 0.1."""
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)

    build_loss(label_smoothing=0.4)(logits, torch.tensor([1])).backward()

    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.15, -0.45, 0.15, 0.15])


def test_plain_cross_entropy_of_a_fair_guess_is_the_log_of_the_classes() -> None:
    """Ten equal scores cost ln 10 nats."""
    loss = build_loss(label_smoothing=0.0)(torch.zeros(3, 10), torch.tensor([0, 4, 9]))

    assert loss.item() == pytest.approx(log(10))


def test_weights_make_unequal_shards_equal_the_whole_batch() -> None:
    """Of five images three are one worker's, two the other's; both agree with all five.

    That holds for the mean of both losses and for the mean of both gradients.
    """
    torch.manual_seed(0)
    images = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 1, 0])
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    mean_loss = build_loss(label_smoothing=0.1)

    whole = mean_loss(images @ weight, labels)
    parts = [
        weight_share(
            mean_loss(images[part] @ weight, labels[part]),
            samples=part.stop - part.start,
            batch_size=5,
            world_size=2,
        )
        for part in (slice(0, 3), slice(3, 5))
    ]

    together = (parts[0] + parts[1]) / 2
    torch.testing.assert_close(together, whole, rtol=1e-14, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(together, weight),
        torch.autograd.grad(whole, weight),
        rtol=1e-13,
        atol=1e-15,
    )


def test_a_single_workers_loss_is_left_as_it_is() -> None:
    """Not even multiplied by one: the very same tensor."""
    loss = torch.tensor(2.0)

    assert weight_share(loss, samples=3, batch_size=3, world_size=1) is loss
