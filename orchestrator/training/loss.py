"""Key `loss`: cross-entropy against smoothed targets, right for unequal shares of a batch."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

LossFunction = Callable[[Tensor, Tensor], Tensor]


def build_loss(*, label_smoothing: float) -> LossFunction:
    """Mean cross-entropy of logits (B, C) and labels (B,), in nats.

    Args:
        label_smoothing: Probability mass moved from the true class to a uniform distribution
            over all classes. Source: Szegedy et al. 2016, section 7, arXiv:1512.00567.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)

    return loss


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
    if world_size == 1:
        return loss
    return loss * (samples * world_size / batch_size)
