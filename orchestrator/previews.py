"""What torch says of a plan before anything starts, for those plans that it could refuse.

Importing torch takes seconds. The small network on embedded digits, where nothing can be wrong,
is not worth them; everything else is refused before a number is taken or a GPU is reserved.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.planning.numbers import identify_network
from orchestrator.planning.run_plan import Numbers, RunPlan
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.names import LOSSES

if TYPE_CHECKING:
    from orchestrator.training.preview import Preview

_MOST: Final = 32
"""Different networks that are looked at; a search over more is a search over numbers."""


def preview_runs(
    spec: ExperimentSpec, runs: Sequence[RunPlan], *, sources: str
) -> "list[Preview]":
    """Look at every different network and own loss among the runs, the first run's first.

    Args:
        spec: What was asked, for the places of its keys.
        runs: The plans.
        sources: Folder of the user's own code; empty for none.

    Raises:
        SpecError: Some run could not be trained; names the key and its place.
    """
    from orchestrator.training.preview import preview_run

    different: dict[str, RunPlan] = {}
    for run in runs:
        different.setdefault(identify_network(run.numbers) + _identify_loss(run.numbers), run)
    found = []
    for run in list(different.values())[:_MOST]:
        try:
            found.append(preview_run(run.numbers, replace(run.place, sources=sources)))
        except OrchestratorError as error:
            key = str(error).partition(":")[0]
            raise SpecError([f"{spec.place_of(key)}: {error}"]) from error
    return found


def _identify_loss(numbers: Numbers) -> str:
    """One's own loss as text; ours cannot fail."""
    loss = numbers.loss
    return "" if loss.name in LOSSES else json.dumps([loss.name, dict(loss.arguments)])


def needs_preview(runs: Sequence[RunPlan]) -> bool:
    """Whether torch could refuse what the spec alone could not."""
    return any(not _is_plain(run.numbers) for run in runs)


def _is_plain(numbers: Numbers) -> bool:
    tune, data = numbers.fine_tune, numbers.data
    return (
        numbers.model.architecture == "small_cnn"
        and numbers.model.initialization != "zero_last_bn"
        and not numbers.model.rules
        and not (tune.groups or tune.unfreeze or tune.linear_probe_epochs)
        and not (data.train_transforms or data.eval_transforms)
        and set(numbers.optimizer.arguments) <= {"momentum"}
        and not (numbers.sources or numbers.installed)
    )
