"""The loss of an epoch, and whether a number was lost on the way to it."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from orchestrator.errors import NonFiniteLossError
from orchestrator.training.context import WorkerContext

_ADVICE = "a smaller optimizer.lr or a longer schedule.warmup_epochs may help"


def pool_losses(
    losses: Sequence[Tensor], context: WorkerContext, *, epoch: int, steps_per_epoch: int
) -> Tensor:
    """The losses of an epoch's steps over all workers; reading them waits for the device.

    Args:
        losses: This worker's weighted loss of every step so far, scalars on the device.
        context: This worker.
        epoch: Counted from 1.
        steps_per_epoch: Steps of every epoch.

    Returns:
        Mean over the images of each step, shape (S,), the same on every rank.

    Raises:
        NonFiniteLossError: One is NaN or infinite; names the step.
    """
    values = torch.stack(list(losses))
    if context.world_size > 1:
        distributed.all_reduce(values)
        values /= context.world_size
    broken = (~values.isfinite()).nonzero().flatten()
    if len(broken):
        step = int(broken[0])
        raise NonFiniteLossError(
            f"the loss turned to {values[step].item()} in step {step + 1} of epoch {epoch} "
            f"(step {(epoch - 1) * steps_per_epoch + step + 1} of the run); {_ADVICE}"
        )
    return values


def check_weights(model: nn.Module, *, epoch: int) -> None:
    """Refuse weights that the last step has broken, whose loss was computed before it.

    Raises:
        NonFiniteLossError: Some parameter is NaN or infinite; names it.
    """
    parameters = dict(model.named_parameters())
    finite = torch.stack([value.isfinite().all() for value in parameters.values()])
    if not finite.all():
        name = list(parameters)[int((~finite).nonzero()[0])]
        raise NonFiniteLossError(f"{name} is not finite in epoch {epoch}; {_ADVICE}")


def mean_loss(losses: Tensor, sizes: Sequence[int]) -> float:
    """Mean loss of an epoch's images.

    Args:
        losses: Mean of each step, shape (S,).
        sizes: Images of all workers in each: the last one may have fewer.
    """
    weights = torch.tensor(sizes, dtype=torch.float64, device=losses.device)
    return float((losses.double() * weights).sum() / weights.sum())


def check_finite(metrics: Mapping[str, float], *, epoch: int) -> None:
    """Refuse what an epoch's last step broke: no later loss tells, and JSON holds no NaN.

    Raises:
        NonFiniteLossError: Names the metric.
    """
    broken = [key for key, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise NonFiniteLossError(
            f"{broken[0]} turned to {metrics[broken[0]]} after epoch {epoch}; {_ADVICE}"
        )
