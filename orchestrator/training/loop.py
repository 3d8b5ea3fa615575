"""The training of one assignment, from its plan to its result, as one story."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, distributed, nn

from orchestrator.errors import NonFiniteLossError
from orchestrator.planning.run_plan import Assignment, Numbers, RunPlan
from orchestrator.training.context import WorkerContext
from orchestrator.training.data.build import (
    RunData,
    build_data,
    epoch_order,
    load_batches,
    shard_batch,
    split_batches,
)
from orchestrator.training.evaluation import Predictions, evaluate, write_predictions
from orchestrator.training.state import TrainingState

PREDICTIONS = "predictions.npz"
"""Name of the file of validation logits, of the epoch that counts, in a run's folder."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a training ended, short of an exception."""

    status: Literal["finished", "stopped"]
    metrics: Mapping[str, float]
    """The values that count; empty where the run was stopped."""
    weights_sha256: str


def train(assignment: Assignment, context: WorkerContext) -> Result:
    """Train one run and leave the validation logits of the epoch that counts in its folder.

    Args:
        assignment: What to train.
        context: This worker, and where its reports go.

    Returns:
        The same on every rank.

    Raises:
        NonFiniteLossError: The loss or a metric turned to NaN or infinity; names the step.
    """
    plan = assignment.plan
    numbers = plan.numbers
    data = build_data(numbers.data, seed=numbers.seed)
    batches = _epoch_batches(data, numbers, epoch=1)
    state = TrainingState.begin(numbers, context, steps_per_epoch=len(batches))

    history: list[dict[str, float]] = []
    for epoch in range(1, numbers.epochs + 1):
        rates = [group["lr"] for group in state.optimizer.param_groups]
        losses = _train_epoch(state, data, plan, context, epoch=epoch)
        if losses is None:
            return Result(status="stopped", metrics={}, weights_sha256="")
        loss = _read_losses(losses, [len(batch) for batch in batches], context, epoch=epoch)
        metrics, predictions = _validate(state, data, plan, context)
        metrics = {"train/loss": loss, "train/lr": max(rates), **metrics}
        _check_finite(metrics, epoch=epoch)
        history.append(metrics)
        if _epoch_that_counts(history, plan) == epoch:
            counted = predictions
        if context.report_epoch(epoch, metrics) == "stop" and epoch < numbers.epochs:
            return Result(status="stopped", metrics={}, weights_sha256="")

    if numbers.limit_batches is None:
        write_predictions(counted, Path(plan.place.folder) / PREDICTIONS, context)
    return Result(
        status="finished",
        metrics=_metrics_that_count(history, plan),
        weights_sha256=digest_weights(state.model),
    )


def digest_weights(model: nn.Module) -> str:
    """SHA-256 over the name, type, shape and bytes of every parameter and buffer, in order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _epoch_batches(data: RunData, numbers: Numbers, *, epoch: int) -> list[Tensor]:
    same = numbers.overfit_batches is not None
    order = epoch_order(len(data.train), seed=numbers.seed, epoch=1 if same else epoch)
    batches = split_batches(
        order, batch_size=numbers.data.batch_size, drop_last=numbers.data.drop_last
    )
    return batches[: numbers.overfit_batches][: numbers.limit_batches]


def _train_epoch(
    state: TrainingState, data: RunData, plan: RunPlan, context: WorkerContext, *, epoch: int
) -> list[Tensor] | None:
    """The loss of every step, left on the device; None where a stop was requested."""
    whole = _epoch_batches(data, plan.numbers, epoch=epoch)
    mine = [shard_batch(b, rank=context.rank, world_size=context.world_size) for b in whole]
    prepared = load_batches(
        data.train, mine, device=context.device, loader_workers=plan.place.loader_workers
    )
    losses = []
    for batch, (images, labels) in zip(whole, prepared, strict=True):
        losses.append(state.step(images, labels, batch_size=len(batch)))
        if context.world_size == 1 and context.stop_requested():
            return None
    return losses


def _read_losses(
    losses: list[Tensor], sizes: list[int], context: WorkerContext, *, epoch: int
) -> float:
    """Mean loss of the epoch's images, the one moment at which an epoch waits for the device.

    Args:
        losses: This worker's weighted loss of every step.
        sizes: Images of all workers in every step: the last one may have fewer.
        context: This worker.
        epoch: Counted from 1.
    """
    values = torch.stack(losses)
    if context.world_size > 1:
        distributed.all_reduce(values)
        values /= context.world_size
    broken = (~values.isfinite()).nonzero().flatten()
    if len(broken):
        step = int(broken[0])
        raise NonFiniteLossError(
            f"the loss turned to {values[step].item()} in step {step + 1} of epoch {epoch} "
            f"(step {(epoch - 1) * len(losses) + step + 1} of the run); "
            "a smaller optimizer.lr or a longer schedule.warmup_epochs may help"
        )
    weights = torch.tensor(sizes, dtype=torch.float64, device=values.device)
    return float((values.double() * weights).sum() / weights.sum())


def _check_finite(metrics: Mapping[str, float], *, epoch: int) -> None:
    """Refuse what an epoch's last step broke: no later loss tells, and JSON holds no NaN."""
    broken = [key for key, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise NonFiniteLossError(
            f"{broken[0]} turned to {metrics[broken[0]]} after epoch {epoch}; "
            "a smaller optimizer.lr or a longer schedule.warmup_epochs may help"
        )


def _validate(
    state: TrainingState, data: RunData, plan: RunPlan, context: WorkerContext
) -> tuple[dict[str, float], Predictions]:
    state.share_buffers()
    tally, predictions = evaluate(
        state.model,
        data.val,
        context,
        loader_workers=plan.place.loader_workers,
        limit_batches=plan.numbers.limit_batches,
    )
    return tally.to_metrics(), predictions


def _metrics_that_count(history: list[dict[str, float]], plan: RunPlan) -> dict[str, float]:
    epoch = _epoch_that_counts(history, plan)
    counted = history[epoch - 1]
    return counted if plan.select == "last" else {**counted, "best_epoch": float(epoch)}


def _epoch_that_counts(history: list[dict[str, float]], plan: RunPlan) -> int:
    """The last epoch so far, or the first of the best ones."""
    if plan.select == "last":
        return len(history)
    sign = 1 if plan.maximize else -1
    return 1 + max(range(len(history)), key=lambda index: sign * history[index][plan.metric])
