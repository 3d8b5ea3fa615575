"""The training of one assignment, from its plan to its result, as one story."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, distributed

from orchestrator.errors import NonFiniteLossError, TrainingError
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.context import WorkerContext
from orchestrator.training.data.build import RunData, build_data
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.data.loader import TrainLoader
from orchestrator.training.evaluation import Predictions, evaluate
from orchestrator.training.group_table import describe_groups, tabulate_groups
from orchestrator.training.history import History
from orchestrator.training.loss import Targets
from orchestrator.training.outputs import RunFolder, digest_weights
from orchestrator.training.scores import score_predictions
from orchestrator.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a training ended, short of an exception."""

    status: Literal["finished", "stopped"]
    metrics: Mapping[str, float]
    """The values that count; empty where the run was stopped."""
    weights_sha256: str


_STOPPED = Result(status="stopped", metrics={}, weights_sha256="")


def train(assignment: Assignment, context: WorkerContext) -> Result:
    """Train one run; leave weights, classes, scores and validation logits in its folder.

    Args:
        assignment: What to train.
        context: This worker, and where its reports go.

    Returns:
        The same on every rank.

    Raises:
        NonFiniteLossError: The loss or a metric turned to NaN or infinity; names the step.
        TrainingError: The data, the network or the loss cannot be had; names the key.
        SpecError: The groups of parameters do not fit the network.
    """
    plan, numbers = assignment.plan, assignment.plan.numbers
    torch.backends.cudnn.benchmark = numbers.training.cudnn_benchmark
    data = build_data(numbers.data, plan.place, seed=numbers.seed)
    loader = TrainLoader(
        data.train,
        numbers.data,
        seed=numbers.seed,
        rank=context.rank,
        world_size=context.world_size,
        device=context.device,
        loader_workers=plan.place.loader_workers,
        limit_batches=numbers.limit_batches,
        overfit_batches=numbers.overfit_batches,
    )
    _check_batches(data, loader, context, parts=numbers.training.accumulate)
    state = TrainingState.begin(
        numbers, plan.place, data, context, steps_per_epoch=loader.steps_per_epoch
    )
    is_kept = numbers.limit_batches is None
    folder = RunFolder(Path(plan.place.folder), context, is_kept=is_kept)
    folder.open(data, state.load_report)
    try:
        return _train_epochs(assignment, context, state, loader, folder, data.val)
    finally:
        loader.close()


def _check_batches(
    data: RunData, loader: TrainLoader, context: WorkerContext, *, parts: int
) -> None:
    """Refuse what planning could not know: unreadable images, and a very small validation part.

    Raises:
        TrainingError: A worker, or one of the parts of its share, would be left without images.
    """
    workers = context.world_size
    if data.skipped and min(loader.sizes) // workers // parts < 2:
        whose = "part (training.accumulate) of each worker" if parts > 1 else "worker"
        raise TrainingError(
            f"data.batch_size: without {len(data.skipped)} unreadable images the last batch of "
            f"an epoch has {min(loader.sizes)}, fewer than 2 for each {whose}; "
            "set data.drop_last: true or another batch_size"
        )
    if len(data.val) < workers:
        raise TrainingError(
            f"resources.num_workers: {len(data.val)} validation images leave some of {workers} "
            f"workers without one; set it to {len(data.val)} at most"
        )


def _train_epochs(
    assignment: Assignment,
    context: WorkerContext,
    state: TrainingState,
    loader: TrainLoader,
    folder: RunFolder,
    val: ImageSet,
) -> Result:
    plan, numbers = assignment.plan, assignment.plan.numbers
    history = History(plan)
    for epoch in range(1, numbers.training.epochs + 1):
        state.begin_epoch(epoch)
        rates = [group["lr"] for group in state.optimizer.param_groups]
        losses = _train_epoch(state, loader, context, epoch=epoch)
        if losses is None:
            return _STOPPED
        loss = _read_losses(losses, loader.sizes, context, epoch=epoch)
        state.share_buffers()
        tally, predictions = evaluate(
            state.scored_model,
            val,
            numbers.data,
            context,
            precision=state.precision,
            loader_workers=plan.place.loader_workers,
            limit_batches=numbers.limit_batches,
        )
        metrics = {"train/loss": loss, "train/lr": max(rates), **tally.to_metrics()}
        _check_finite(metrics, epoch=epoch)
        if history.needs_scores:
            metrics = score_predictions(predictions, context).to_metrics("val") | metrics
        history.add(metrics)
        if history.counted_epoch == epoch:
            counted = predictions
            if plan.select == "best":
                folder.write_best(state.scored_model)
        verdict = context.report_epoch(epoch, metrics)
        if history.is_over:
            break
        if verdict == "stop":
            return _STOPPED

    return _end(plan, state, counted, history, folder, context)


def _end(
    plan: RunPlan,
    state: TrainingState,
    counted: Predictions,
    history: History,
    folder: RunFolder,
    context: WorkerContext,
) -> Result:
    """Score the epoch that counts in full, and leave everything in the run's folder."""
    if plan.place.describes_network and folder.writes:
        folder.write_summary(_describe_network(state, plan.numbers.data))
    scores = score_predictions(counted, context)
    folder.close(state.scored_model, counted, scores)
    return Result(
        status="finished",
        metrics={
            **scores.to_metrics("val"),
            **history.counted_metrics(),
            **folder.facts,
        },
        weights_sha256=digest_weights(state.scored_model),
    )


def _train_epoch(
    state: TrainingState, loader: TrainLoader, context: WorkerContext, *, epoch: int
) -> list[Tensor] | None:
    """The loss of every step, left on the device; None where a stop was requested."""
    losses = []
    for batch in loader.epoch(epoch):
        targets = Targets(batch.labels, batch.partner_labels, batch.lam)
        losses.append(state.step(batch.images, targets, batch_size=batch.batch_size))
        if context.world_size == 1 and context.stop_requested():
            return None
    return losses


def _describe_network(state: TrainingState, data: DataPlan) -> str:
    from orchestrator.training.model.summary import summarize_model

    summary = summarize_model(state.model, data.channels, data.image_size)
    rows = describe_groups(state.groups, state.model)
    return f"{summary.describe()}\n\n{tabulate_groups(rows)}"


def _read_losses(
    losses: list[Tensor], sizes: Sequence[int], context: WorkerContext, *, epoch: int
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
