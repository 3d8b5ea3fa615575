"""One search, decided: its settings, its runs, its lanes and where everything goes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from orchestrator.errors import InfeasibleError, SpecError
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.plain import build_plan
from orchestrator.planning.run_plan import RunPlan, Scalar

RERUN: Final = ".rerun"
"""Ending of the name of a search that repeats a run of another."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """One numbered execution of a spec, even of a single setting."""

    name: str
    number: int
    description: str
    folder: Path
    """Where everything of this search is written, absolute."""
    store_uri: str
    """MLflow's tracking store."""
    metric: str
    maximize: bool
    select: Literal["last", "best"]
    settings: tuple[Mapping[str, Scalar], ...]
    baseline: Mapping[str, Scalar] | None
    seeds: tuple[int, ...]
    runs: tuple[RunPlan, ...]
    """Setting by setting, each with its seeds in order; `plan` numbers them from 1."""
    lanes: LanePlan
    cluster_text: str
    """Which machines the plan was made for, in words."""
    caveat: str
    """Why the metric is not a fair judge of the searched keys; empty where it is one."""
    notes: tuple[str, ...]
    """What to tell the user before anything starts."""
    spec_text: str
    """The spec as one YAML text, kept with the records; it loads as the same spec."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What computes the runs: versions, and a digest of the source that trains."""
    done: Mapping[str, str] = field(default_factory=dict)
    """Id of each run that need not be trained to that of the run that its results are of: its
    own where this search has trained it before."""
    max_concurrent: int | None = None
    """Runs trained at a time at most, as the spec asks; None for as many as fit."""
    continues: bool = False
    """Whether a search that was interrupted goes on under its number."""

    @property
    def is_search(self) -> bool:
        """Whether there is more than one setting to choose from."""
        return self.baseline is not None

    def runs_of(self, index: int) -> tuple[RunPlan, ...]:
        """The runs of one setting, one per seed."""
        count = len(self.seeds)
        return self.runs[index * count : (index + 1) * count]

    @property
    def missing(self) -> tuple[RunPlan, ...]:
        """The runs that are to be trained."""
        return tuple(run for run in self.runs if run.run_id not in self.done)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        values = asdict(self)
        values["folder"] = str(self.folder)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SearchPlan":
        """The plan that `to_json` wrote.

        Raises:
            TypeError: A field is missing or unknown: another version wrote it.
        """
        plan: SearchPlan = build_plan(cls, {**values, "folder": Path(values["folder"])})
        return plan


def pick_run(plan: SearchPlan, number: int) -> SearchPlan:
    """The plan of one of its runs alone.

    Args:
        plan: Of a whole search.
        number: Of the run, as `plan` numbers them, from 1.

    Raises:
        InfeasibleError: Its runs have several workers each.
        SpecError: There is no such run.
    """
    workers = plan.lanes.request.workers
    if workers > 1:
        advice = f"set resources.num_workers=1 (got {workers})"
        raise InfeasibleError(f"--in-process trains with one worker; {advice}")
    if not 1 <= number <= len(plan.runs):
        text = f"--run {number}: the plan numbers its runs from 1 to {len(plan.runs)}"
        raise SpecError([text])
    chosen = plan.runs[number - 1]
    return replace(
        plan,
        settings=(chosen.setting,),
        baseline=None,
        seeds=(chosen.numbers.seed,),
        runs=(chosen,),
        lanes=plan.lanes.cut(1),
    )
