"""One run, decided: every value that training needs, and nothing left to a library's default.

Standard library alone, so that a bare PyTorch machine can read a plan. `numbers` holds all that
can change a weight, `place` all that cannot; the two are kept apart because whatever must
notice a changed result looks at `numbers` only.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Which images, in which batches."""

    dataset: str
    num_classes: int
    channels: int
    """Colour channels that the model is fed."""
    image_size: int
    """Height and width in pixels."""
    batch_size: int
    """Images per optimizer step, over all workers."""
    train_size: int
    """Training images used, drawn by class from the seed."""
    label_noise: float
    """Share of the training labels that are redrawn uniformly over all classes."""
    drop_last: bool


@dataclass(frozen=True, kw_only=True)
class OptimizerPlan:
    """The optimizer and its rates."""

    name: Literal["sgd", "adamw"]
    backbone_lr: float
    """Learning rate of everything but the head."""
    head_lr: float
    """Learning rate of the final linear layer."""
    momentum: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class SchedulePlan:
    """How the learning rates move, optimizer step by optimizer step."""

    name: Literal["constant", "cosine", "one_cycle"]
    warmup_epochs: float


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """All that can change a weight."""

    seed: int
    deterministic: Literal["true", "warn", "false"]
    architecture: str
    data: DataPlan
    loss: str
    label_smoothing: float
    optimizer: OptimizerPlan
    schedule: SchedulePlan
    epochs: int
    world_size: int
    threads: int
    """Threads of one worker; float sums depend on them."""
    device: Literal["cpu", "cuda"]
    limit_batches: int | None
    """Train and validate on this many batches of each epoch only; None for all."""
    overfit_batches: int | None
    """Train on this many batches, the same ones in every epoch; None for all."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run happens; none of it can change a weight."""

    folder: str
    """Absolute path of the run's folder."""
    loader_workers: int
    """Processes that prepare batches for one worker; 0 prepares them in the worker itself."""


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

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunPlan":
        """The plan that `to_json` wrote.

        Raises:
            TypeError: A field is missing or unknown: the two sides run different code.
        """
        plan: RunPlan = _build(cls, values)
        return plan


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a lane is asked to do: the only thing that crosses to it, as JSON."""

    plan: RunPlan
    attempt: int
    """1 for the first try; a lane that died in the middle makes it one more."""

    def to_json(self) -> str:
        """The assignment as JSON text."""
        return json.dumps({"plan": self.plan.to_json(), "attempt": self.attempt})

    @classmethod
    def from_json(cls, text: str) -> "Assignment":
        """The assignment that `to_json` wrote."""
        values = json.loads(text)
        return cls(plan=RunPlan.from_json(values["plan"]), attempt=values["attempt"])


def _build(cls: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  any of the plans
    hints = get_type_hints(cls)
    return cls(
        **{
            key: _build(hints[key], value)
            if dataclasses.is_dataclass(hints.get(key))
            else value
            for key, value in values.items()
        }
    )
