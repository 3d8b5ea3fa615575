"""Key `checkpoint`, decided: when a training is written to disk, and how much of it stays."""

from typing import Final

from orchestrator.planning.run_plan import CheckpointPlan, Numbers
from orchestrator.specs.sections import CheckpointSpec

_OPEN_ENDED: Final = ("constant", "step", "multistep")
"""Schedules whose rates do not depend on how many epochs there will be."""


def resolve_checkpoint(checkpoint: CheckpointSpec, numbers: Numbers) -> CheckpointPlan | None:
    """When checkpoints of a run are written; None for a quick try, which leaves nothing.

    Args:
        checkpoint: What was asked.
        numbers: The run's.
    """
    if numbers.limit_batches is not None:
        return None
    return CheckpointPlan(
        every_epochs=checkpoint.every_epochs,
        every_steps=checkpoint.every_steps,
        keep_last=checkpoint.keep_last,
        keep_best=checkpoint.keep_best,
        keep_final=checkpoint.every_epochs != 0 and is_open_ended(numbers),
    )


def is_open_ended(numbers: Numbers) -> bool:
    """Whether more epochs could go on from a run's last, with the same numbers so far."""
    return numbers.schedule.name in _OPEN_ENDED
