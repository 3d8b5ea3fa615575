"""The training of one assignment, from its plan to its result."""

import re
from typing import Final

import torch

from orchestrator.errors import NonFiniteLossError, TrainingError
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.training.checkpoint import Checkpoints
from orchestrator.training.context import WorkerContext
from orchestrator.training.data.build import RunData, build_data
from orchestrator.training.data.loader import TrainLoader
from orchestrator.training.result import Result
from orchestrator.training.running import Training

_NONDETERMINISTIC: Final = re.compile(r"(\S+) does not have a deterministic implementation")


def train(assignment: Assignment, context: WorkerContext) -> Result:
    """Train one run; leave weights, classes, scores and validation logits in its folder.

    Where the folder holds a checkpoint, training goes on from it, with the same numbers as if
    it had never stopped.

    Args:
        assignment: What to train.
        context: This worker, and where its reports go.

    Returns:
        The same on every rank.

    Raises:
        NonFiniteLossError: The loss or a metric turned to NaN or infinity; names the step.
        TrainingError: The data, the network or the loss cannot be had, or a checkpoint not be
            written; names the key.
        SpecError: The groups of parameters do not fit the network.
    """
    plan, numbers = assignment.plan, assignment.plan.numbers
    torch.backends.cudnn.benchmark = numbers.training.cudnn_benchmark
    data = build_data(numbers.data, plan.place, seed=numbers.seed)
    loader = _build_loader(plan, data, context)
    _check_batches(data, loader, context, parts=max(1, numbers.training.accumulate))
    checkpoints = Checkpoints(plan, context, steps_per_epoch=loader.steps_per_epoch)
    training = Training(plan, context, data, loader, checkpoints)
    try:
        training.resume(parts=assignment.parts)
        return training.train()
    except NonFiniteLossError as error:
        raise NonFiniteLossError(f"{error}{checkpoints.word_newest()}") from error
    except RuntimeError as error:
        if (refused := _NONDETERMINISTIC.search(str(error))) is None:
            raise
        raise TrainingError(
            f"deterministic: {refused[1]} has no deterministic form on {context.device.type}; "
            "use another operation, or set deterministic: warn, which names it and goes on"
        ) from error
    finally:
        loader.close()
        checkpoints.close()


def _build_loader(plan: RunPlan, data: RunData, context: WorkerContext) -> TrainLoader:
    return TrainLoader(
        data.train,
        plan.numbers.data,
        seed=plan.numbers.seed,
        rank=context.rank,
        world_size=context.world_size,
        device=context.device,
        loader_workers=plan.place.loader_workers,
        epochs=plan.numbers.training.epochs,
        limit_batches=plan.numbers.limit_batches,
        overfit_batches=plan.numbers.overfit_batches,
    )


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
