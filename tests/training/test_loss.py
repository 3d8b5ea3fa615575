"""Key `loss`: against cross-entropy written out by hand, and over unequal shares of a batch."""

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.training.loss import LossFunction, Targets, build_loss, weight_share
from tests import plans


def make_loss(classes: int, **changes: Any) -> LossFunction:
    """The loss of a plan, without smoothing unless it says so."""
    counts = changes.pop("class_counts", ())
    plan = plans.loss_plan(**{"label_smoothing": 0.0, **changes})
    return build_loss(plan, num_classes=classes, class_counts=counts)


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

    loss = make_loss(3, label_smoothing=smoothing)(logits, Targets(labels))
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

    make_loss(4, label_smoothing=0.4)(logits, Targets(torch.tensor([1]))).backward()

    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.15, -0.45, 0.15, 0.15])


def test_plain_cross_entropy_of_a_fair_guess_is_the_log_of_the_classes() -> None:
    """Ten equal scores cost ln 10 nats."""
    loss = make_loss(10)(torch.zeros(3, 10), Targets(torch.tensor([0, 4, 9])))

    assert loss.item() == pytest.approx(log(10))


def test_weights_make_unequal_shards_equal_the_whole_batch() -> None:
    """Of five images three are one worker's, two the other's; both agree with all five.

    That holds for the mean of both losses and for the mean of both gradients.
    """
    torch.manual_seed(0)
    images = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 1, 0])
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    mean_loss = make_loss(3, label_smoothing=0.1)

    whole = mean_loss(images @ weight, Targets(labels))
    parts = [
        weight_share(
            mean_loss(images[part] @ weight, Targets(labels[part])),
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


def test_the_two_forms_of_smoothing_are_one_at_another_strength() -> None:
    """`others` at eps is `uniform` at eps K / (K - 1), value and gradient, hard and mixed."""
    torch.manual_seed(1)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    labels, partners = torch.randint(5, (2, 6))
    for targets in (Targets(labels), Targets(labels, partners, 0.3)):
        for name in ("cross_entropy", "bce"):
            others = make_loss(5, name=name, label_smoothing=0.2, smoothing="others")
            uniform = make_loss(5, name=name, label_smoothing=0.25)
            for first, second in (
                (others(logits, targets), uniform(logits, targets)),
                (
                    torch.autograd.grad(others(logits, targets), logits)[0],
                    torch.autograd.grad(uniform(logits, targets), logits)[0],
                ),
            ):
                torch.testing.assert_close(first, second, rtol=1e-13, atol=1e-14)


def test_smoothing_to_the_others_leaves_the_true_class_all_but_eps() -> None:
    """Equal scores of four classes; with eps 0.3 the targets are 0.7 and 0.1."""
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)

    loss = make_loss(4, label_smoothing=0.3, smoothing="others")
    loss(logits, Targets(torch.tensor([1]))).backward()

    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.15, -0.45, 0.15, 0.15])


def test_so_much_smoothing_that_torch_has_no_value_for_it() -> None:
    """Two classes, 0.8 to the other one: the targets are 0.2 and 0.8."""
    logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)

    loss = make_loss(2, label_smoothing=0.8, smoothing="others")
    loss(logits, Targets(torch.tensor([0]))).backward()

    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.3, -0.3])


@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
@pytest.mark.parametrize("smoothing", ["uniform", "others"])
def test_mixed_images_have_two_labels_in_shares(name: str, smoothing: str) -> None:
    """Against targets written out: smoothed one-hot vectors, 0.3 of one, 0.7 of the other."""
    torch.manual_seed(2)
    logits = torch.randn(4, 3, dtype=torch.float64)
    labels, partners = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 1, 0, 2])
    written = torch.zeros(4, 3, dtype=torch.float64)
    for row, (own, other) in enumerate(zip(labels.tolist(), partners.tolist(), strict=True)):
        for label, share in ((own, 0.3), (other, 0.7)):
            for k in range(3):
                moved = 0.1 / 3 if smoothing == "uniform" else 0.05 * (k != label)
                written[row, k] += share * (0.9 * (k == label) + moved)
    if name == "bce":
        p = 1 / (1 + (-logits).exp())
        expected = -(written * p.log() + (1 - written) * (1 - p).log()).sum() / 4
    else:
        expected = -(written * (logits - logits.logsumexp(1, keepdim=True))).sum() / 4

    loss = make_loss(3, name=name, label_smoothing=0.1, smoothing=smoothing)

    torch.testing.assert_close(
        loss(logits, Targets(labels, partners, 0.3)), expected, rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
def test_weights_of_classes_do_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    """A batch costs what its images cost one by one, and each is weighted by its class."""
    torch.manual_seed(3)
    logits, labels = torch.randn(5, 3, dtype=torch.float32), torch.tensor([0, 1, 2, 1, 0])
    loss = make_loss(3, name=name, class_weights=(1.0, 2.0, 4.0))

    together = loss(logits, Targets(labels))
    apart = [loss(logits[[i]], Targets(labels[[i]])) for i in range(5)]

    torch.testing.assert_close(together, torch.stack(apart).mean())
    even = torch.zeros(3, 3)
    costs = [float(loss(even[[i]], Targets(torch.tensor([i])))) for i in range(3)]
    assert costs == pytest.approx([costs[0], 2 * costs[0], 4 * costs[0]])
    if name == "cross_entropy":
        weights = torch.tensor([1.0, 2.0, 4.0])
        total = torch.nn.functional.cross_entropy(
            logits, labels, weight=weights, reduction="sum"
        )
        torch.testing.assert_close(together, total / 5)


def test_balanced_weights_are_scikit_learns() -> None:
    """Five, three and two images of three classes."""
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    logits, given = torch.randn(4, 3), Targets(torch.tensor([0, 1, 2, 1]))

    balanced = make_loss(3, class_weights="balanced", class_counts=(5, 3, 2))
    as_listed = make_loss(3, class_weights=tuple(expected.tolist()))

    torch.testing.assert_close(balanced(logits, given), as_listed(logits, given))


def test_balanced_weights_need_every_class() -> None:
    """A weight of a class without images would be infinite."""
    with pytest.raises(TrainingError, match="balanced needs an image of every class; class 1"):
        make_loss(3, class_weights="balanced", class_counts=(5, 0, 2))


def test_parts_of_a_batch_keep_their_targets() -> None:
    """Five images in two parts: three and two, each with its own partners."""
    whole = Targets(torch.arange(5), torch.arange(5, 10), 0.25)

    first, second = whole.split(2)

    assert (first.labels.tolist(), second.labels.tolist()) == ([0, 1, 2], [3, 4])
    assert first.partners is not None
    assert second.partners is not None
    assert (first.partners.tolist(), second.partners.tolist()) == ([5, 6, 7], [8, 9])
    assert (first.share, second.share) == (0.25, 0.25)


OWN = """
def mean_square(logits, targets, *, factor=1.0):
    return factor * ((logits - targets) ** 2).mean()


def one_per_image(logits, targets):
    return (logits - targets).sum(dim=1)
"""


def test_a_loss_of_the_users_own_gets_soft_targets(tmp_path: Path) -> None:
    """Smoothed and mixed as ours are, with its arguments."""
    (tmp_path / "own_loss_a.py").write_text(OWN)
    plan = plans.loss_plan(
        name="own_loss_a:mean_square", arguments={"factor": 2.0}, label_smoothing=0.2
    )

    loss = build_loss(plan, num_classes=2, sources=str(tmp_path))

    # Targets 0.9 and 0.1 against scores of 0: 2 (0.81 + 0.01) / 2.
    value = loss(torch.zeros(1, 2), Targets(torch.tensor([0])))
    assert value.item() == pytest.approx(0.82)


def test_a_loss_that_is_no_mean_is_refused(tmp_path: Path) -> None:
    """One value per image is named with its shape."""
    (tmp_path / "own_loss_b.py").write_text(OWN)
    plan = plans.loss_plan(name="own_loss_b:one_per_image")
    loss = build_loss(plan, num_classes=2, sources=str(tmp_path))

    with pytest.raises(TrainingError, match=r"without dimensions \(got shape \(3,\)\)"):
        loss(torch.zeros(3, 2), Targets(torch.tensor([0, 1, 1])))
