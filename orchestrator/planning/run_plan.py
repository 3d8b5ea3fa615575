"""One run, decided: every value that training needs, and nothing left to a library's default.

Standard library alone, so that a bare PyTorch machine can read a plan. `numbers` holds all that
can change a weight, `place` all that cannot; the two are kept apart because whatever must
notice a changed result looks at `numbers` only.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.planning.plain import build_plan
from orchestrator.planning.section_plans import (
    DataPlan,
    FineTunePlan,
    LossPlan,
    ModelPlan,
    OptimizerPlan,
    SchedulePlan,
    TrainingPlan,
)

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """All that can change a weight."""

    seed: int
    deterministic: Literal["true", "warn", "false"]
    data: DataPlan
    model: ModelPlan
    loss: LossPlan
    optimizer: OptimizerPlan
    fine_tune: FineTunePlan
    schedule: SchedulePlan
    training: TrainingPlan
    world_size: int
    threads: int
    """Threads of one worker; float sums depend on them."""
    device: Literal["cpu", "cuda"]
    sources: str
    """Digest of the user's own code that travels; empty where there is none."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Installed packages of the user's to digests of their code."""
    limit_batches: int | None
    """Train and validate on this many batches of each epoch only; None for all."""
    overfit_batches: int | None
    """Train on this many batches, the same ones in every epoch; None for all."""


@dataclass(frozen=True, kw_only=True)
class CheckpointPlan:
    """When a training is written to disk, and how much of it stays there."""

    every_epochs: int | None
    """Epochs from one checkpoint to the next; 0 for none at the ends of epochs, None for one at
    the first epoch's end that is ten seconds after the last."""
    every_steps: int | None
    """Steps of the run from one to the next, beside those; None for none."""
    keep_last: int
    """Newest ones that stay while the run is trained."""
    keep_best: int
    """Those of the best epochs that have one, by the run's metric, that stay for good."""
    keep_final: bool
    """Whether the last one stays when the run has finished: more epochs can go on from it."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run happens; none of it can change a weight."""

    folder: str
    """Absolute path of the run's folder."""
    loader_workers: int
    """Processes that prepare batches for one worker; 0 prepares them in the worker itself."""
    data_root: str = ""
    """Absolute path of the data set's folder or table; empty where it needs none."""
    download: bool = False
    """Whether a data set that is not there may be fetched."""
    cache: Literal["auto", "on", "off"] = "auto"
    """Whether decoded images are kept on the node's disk; `auto`: where they fit."""
    weights: str = ""
    """Absolute path of the weights' file; empty for torchvision's and for none."""
    describes_network: bool = False
    """Whether the run records its network layer by layer: the first of those that share it."""
    sources: str = ""
    """Absolute path of the folder that the user's own modules are imported from."""
    checkpoint: CheckpointPlan | None = None
    """None writes no checkpoint."""
    trace: str = ""
    """Absolute path of a file that gets a digest of every tensor after every step; empty for
    none."""
    extends: str = ""
    """Absolute path of the folder of a run of fewer epochs that this one goes on from."""
    elastic: bool = False
    """Whether it may go on with another number of workers than it was begun with."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One training of one setting with one seed."""

    run_id: str
    """`name/number/run`."""
    setting: Mapping[str, Scalar]
    """Searched key to value; empty where nothing is searched."""
    select: Literal["last", "best"]
    metric: str
    maximize: bool
    numbers: Numbers
    place: Place
    fingerprint: str = ""
    """Digest of all that decides the numbers; empty where nothing shall be found by it."""
    lineage: str = ""
    """The same, whatever the number of epochs: runs that one could go on from share it."""

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunPlan":
        """The plan that `to_json` wrote.

        Raises:
            TypeError: A field is missing or unknown: the two sides run different code.
        """
        plan: RunPlan = build_plan(cls, values)
        return plan


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a lane is asked to do: the only thing that crosses to it, as JSON."""

    plan: RunPlan
    attempt: int
    """1 for the first try; a lane that died in the middle makes it one more."""
    parts: int = 1
    """Least parts that a worker's share of a batch is cut into: with fewer, a GPU's memory did
    not suffice."""
    store: str = ""
    """Address of the object store that the plan's storage is a copy of; empty where every node
    sees the storage itself."""

    def to_json(self) -> str:
        """The assignment as JSON text."""
        return json.dumps({**vars(self), "plan": self.plan.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "Assignment":
        """The assignment that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "plan": RunPlan.from_json(values["plan"])})
