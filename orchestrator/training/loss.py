"""Key `loss`: what is minimised, on hard labels and on the soft ones of mixed images.

Whatever the loss, a worker's mean is weighted by its share of the global batch, so that several
workers minimise what one would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import LossPlan
from orchestrator.training.own_code import is_own_code, load_callable


@dataclass(frozen=True)
class Targets:
    """What a batch's logits are held against."""

    labels: Tensor
    """int64, shape (B,)."""
    partners: Tensor | None = None
    """Labels of the images that were mixed in, int64, shape (B,); None where none were."""
    share: float = 1.0
    """Share of each image that is its own, in [0, 1]."""

    def split(self, parts: int) -> list["Targets"]:
        """The targets of the parts that a batch is cut into, as `tensor_split` cuts."""
        if parts == 1:
            return [self]
        labels = self.labels.tensor_split(parts)
        if self.partners is None:
            return [Targets(part) for part in labels]
        partners = self.partners.tensor_split(parts)
        return [
            Targets(own, other, self.share) for own, other in zip(labels, partners, strict=True)
        ]


LossFunction = Callable[[Tensor, Targets], Tensor]


def build_loss(
    plan: LossPlan,
    *,
    num_classes: int,
    class_counts: Sequence[int] = (),
    sources: str = "",
    device: torch.device | None = None,
) -> LossFunction:
    """Mean loss of logits (B, C) and targets, in nats.

    Args:
        plan: Key `loss`, decided.
        num_classes: C.
        class_counts: Training images of each class; for balanced weights.
        sources: Folder of the user's own code.
        device: Where class weights shall live.

    Raises:
        TrainingError: Balanced weights need an image of every class; or the user's own loss
            cannot be imported.
    """
    weights = _class_weights(plan, class_counts, device)
    if is_own_code(plan.name):
        own = load_callable(plan.name, key="loss.name", sources=sources)

        def own_loss(logits: Tensor, targets: Targets) -> Tensor:
            soft = smooth_targets(plan, soft_targets(targets, num_classes, logits.dtype))
            loss = own(logits, soft, **plan.arguments)
            if not isinstance(loss, Tensor) or loss.ndim != 0:
                raise TrainingError(
                    f"loss.name: {plan.name} must return the mean loss of a batch, a tensor "
                    f"without dimensions (got {_describe(loss)})"
                )
            return loss

        return own_loss
    if plan.name == "bce":
        return _build_bce(plan, num_classes, weights)
    return _build_cross_entropy(plan, num_classes, weights)


def soft_targets(targets: Targets, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Probabilities of the classes, shape (B, C): one-hot, or two classes in shares."""
    own = functional.one_hot(targets.labels, num_classes).to(dtype)
    if targets.partners is None:
        return own
    partners = functional.one_hot(targets.partners, num_classes).to(dtype)
    return targets.share * own + (1 - targets.share) * partners


def smooth_targets(plan: LossPlan, targets: Tensor) -> Tensor:
    """Move mass of soft targets (B, C) to other classes; each row still sums to 1.

    `uniform` moves eps to all K classes alike: (1 - eps) t + eps / K. `others` moves it to the
    classes other than the target's: (1 - eps) t + eps (1 - t) / (K - 1). The second at eps
    equals the first at eps K / (K - 1).
    """
    eps, classes = plan.label_smoothing, targets.shape[1]
    if eps == 0:
        return targets
    if plan.smoothing == "uniform":
        return (1 - eps) * targets + eps / classes
    return (1 - eps) * targets + eps * (1 - targets) / (classes - 1)


def weight_share(loss: Tensor, *, samples: int, batch_size: int, world_size: int) -> Tensor:
    """Weight one worker's mean loss by its share of the global batch.

    DDP averages gradients over workers; without this weight a worker with fewer images would
    count each of them for more.

    Args:
        loss: Mean over this worker's images, scalar.
        samples: Images of this worker.
        batch_size: Images of all workers in this step.
        world_size: Number of workers.
    """
    if samples * world_size == batch_size:
        return loss
    return loss * (samples * world_size / batch_size)


def _build_cross_entropy(
    plan: LossPlan, num_classes: int, weights: Tensor | None
) -> LossFunction:
    # The form at K / (K - 1) times eps is torch's own, which needs no soft targets.
    scale = num_classes / (num_classes - 1) if plan.smoothing == "others" else 1.0
    eps = plan.label_smoothing * scale

    def hard(logits: Tensor, labels: Tensor) -> Tensor:
        if weights is None:
            return functional.cross_entropy(logits, labels, label_smoothing=eps)
        # torch's mean divides by the sum of the batch's weights: the weight of an image would
        # depend on what else is in its batch, and on how the batch is shared out.
        total = functional.cross_entropy(
            logits, labels, weight=weights, label_smoothing=eps, reduction="sum"
        )
        return total / len(labels)

    def cross_entropy(logits: Tensor, targets: Targets) -> Tensor:
        loss = hard(logits, targets.labels)
        if targets.partners is None:
            return loss
        # Linear in the targets, so that two hard labels do for a soft one.
        return targets.share * loss + (1 - targets.share) * hard(logits, targets.partners)

    def soft_cross_entropy(logits: Tensor, targets: Targets) -> Tensor:
        soft = smooth_targets(plan, soft_targets(targets, num_classes, logits.dtype))
        total = functional.cross_entropy(logits, soft, weight=weights, reduction="sum")
        return total / len(soft)

    # So much mass to the others that torch's own form has no value for it.
    return cross_entropy if eps <= 1 else soft_cross_entropy


def _build_bce(plan: LossPlan, num_classes: int, weights: Tensor | None) -> LossFunction:
    def binary_cross_entropy(logits: Tensor, targets: Targets) -> Tensor:
        soft = smooth_targets(plan, soft_targets(targets, num_classes, logits.dtype))
        # Summed over the classes and averaged over the images, as cross-entropy is; the mean
        # over classes would shrink the step with their number.
        losses = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        per_image = losses.sum(dim=1)
        if weights is None:
            return per_image.mean()
        weight = weights[targets.labels]
        if targets.partners is not None:
            other = weights[targets.partners]
            weight = targets.share * weight + (1 - targets.share) * other
        return (per_image * weight).mean()

    return binary_cross_entropy


def _class_weights(
    plan: LossPlan, class_counts: Sequence[int], device: torch.device | None
) -> Tensor | None:
    if plan.class_weights == "none":
        return None
    if plan.class_weights != "balanced":
        return torch.tensor(plan.class_weights, dtype=torch.float32, device=device)
    counts = torch.tensor(class_counts)
    if not counts.all():
        empty = int((counts == 0).nonzero()[0])
        raise TrainingError(
            f"loss.class_weights: balanced needs an image of every class; class {empty} has "
            "none among the training images"
        )
    # scikit-learn's: N / (K n_c). The mean over the training images is 1.
    weights = counts.sum() / (len(counts) * counts.double())
    return weights.to(dtype=torch.float32, device=device)


def _describe(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
