"""A training between two steps as plain values and tensors, and a training from them again.

Left out of a checkpoint, any one of these would change the numbers after it: weights and
running statistics, the optimizer's moments, the schedule's place, the average, the scaler, and
every generator of every worker. What depends on the seed and a position alone, such as order
and augmentation, needs no place in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, distributed

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import RunPlan
from orchestrator.training.checkpoint_file import FoundCheckpoint
from orchestrator.training.context import WorkerContext
from orchestrator.training.history import History
from orchestrator.training.state import TrainingState
from orchestrator.training.streams import (
    LAYERS,
    read_generators,
    seed_global_generators,
    set_generators,
)

_FORMAT: Final = 1

Progress = tuple[list[Tensor], float, dict[str, Any] | None]
"""This worker's losses of the epoch under way, the highest rate at its beginning, and the
weights of the best epoch so far, or None."""


def pack(
    plan: RunPlan,
    *,
    state: TrainingState,
    history: History,
    classes: Sequence[str],
    context: WorkerContext,
    progress: Progress,
) -> dict[str, Any]:
    """All of a training at this moment; every rank takes part.

    Args:
        plan: What is trained.
        state: Network, optimizer and what belongs to them.
        history: The epochs so far.
        classes: Names of the classes, in the order of their indices.
        context: This worker.
        progress: How far the epoch under way has come.
    """
    losses, lr, best = progress
    mine = {
        "generators": read_generators(context.device),
        "losses": torch.stack(losses).cpu() if losses else torch.empty(0),
    }
    ranks = [mine]
    if context.world_size > 1:
        ranks = [{} for _ in range(context.world_size)]
        distributed.all_gather_object(ranks, mine)
    return {
        "format": _FORMAT,
        "plan": plan.to_json(),
        "classes": list(classes),
        "history": list(history),
        "lr": lr,
        "parts": state.parts,
        "state": state.state_dict(),
        "best": best,
        "ranks": ranks,
    }


def unpack(
    plan: RunPlan,
    content: Mapping[str, Any],
    *,
    state: TrainingState,
    history: History,
    classes: Sequence[str],
    context: WorkerContext,
) -> Progress:
    """Bring a training that has just begun to where `pack` found another.

    An elastic run may have had another number of workers then: all of them hold the same
    weights, and a worker that is new draws from a place of its own in the streams.

    Raises:
        TrainingError: The checkpoint is of another training.
    """
    if content["format"] != _FORMAT:
        raise TrainingError(
            f"checkpoint: it is of format {content['format']}, this version reads {_FORMAT}; "
            "go on with the version that wrote it, or train with --fresh"
        )
    if content["classes"] != list(classes):
        raise TrainingError(
            f"checkpoint: it was written for the classes {', '.join(content['classes'])}, the "
            f"data has {', '.join(classes)}"
        )
    ranks = content["ranks"]
    if len(ranks) != context.world_size and not plan.place.elastic:
        raise TrainingError(
            f"resources.num_workers: the checkpoint was written by {len(ranks)} workers "
            f"(got {context.world_size}); set resources.min_workers, as it was then, or train "
            "with --fresh"
        )
    state.load_state_dict(content["state"])
    state.parts = content["parts"]
    for metrics in content["history"]:
        history.add(metrics)
    losses = ranks[context.rank % len(ranks)]["losses"]
    if len(ranks) != context.world_size:
        # Their mean over the workers is the loss of a step, whoever has what of it.
        losses = torch.stack([rank["losses"] for rank in ranks]).mean(dim=0)
    # Last: nothing of the above may draw afterwards.
    if context.rank < len(ranks):
        set_generators(ranks[context.rank]["generators"], context.device)
    else:
        place = (context.rank, len(history), len(losses))
        seed_global_generators(plan.numbers.seed, LAYERS, *place)
    return list(losses.to(context.device).unbind()), content["lr"], content["best"]


def describe_resumption(found: FoundCheckpoint, history: History, steps: int) -> dict[str, Any]:
    """What the records shall hold of it.

    Args:
        found: What was gone on from.
        history: The epochs that were done.
        steps: Those of the epoch after them.
    """
    return {
        "note": "resumed",
        "checkpoint": "" if found.path is None else str(found.path),
        "damaged": [str(path) for path in found.damaged],
        "history": list(history),
        "steps": steps,
    }
