"""ExperimentSpec: the whole file as one value, with the search spaces beside the plain keys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.errors import SpecError
from orchestrator.specs import sections
from orchestrator.specs.agreement import compare_sections
from orchestrator.specs.data_section import DataSpec
from orchestrator.specs.fine_tune_section import FineTuneSpec
from orchestrator.specs.mistakes import value_text
from orchestrator.specs.model_section import ModelSpec
from orchestrator.specs.search import Scalar, SearchSpec, Space
from orchestrator.specs.section import Finding, Section, StoragePath, no_number, refuse
from orchestrator.specs.training_sections import (
    LossSpec,
    OptimizerSpec,
    ScheduleSpec,
    TrainingSpec,
)
from orchestrator.specs.validation import check_values

_SEEDS = 2**32
_LONGEST_NAME = 64
_MLFLOWS = ("mlflow", "mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlflow-artifacts")


def _plain_name(name: str) -> str:
    plain = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not plain or not name[0].isalnum() or len(name) > _LONGEST_NAME:
        raise refuse(
            "must be up to 64 letters, digits, '.', '_' or '-', the first a letter or digit "
            f"(got {name!r})"
        )
    # A disk may not tell capitals from small letters.
    if name.lower() in _MLFLOWS:
        raise refuse(
            f"is the name of MLflow's store beside the experiments (got {name!r}); "
            "choose another"
        )
    return name


class Keys(Section):
    """An experiment, every key with one value."""

    name: Annotated[str, AfterValidator(_plain_name)]
    """Name that groups all searches of this experiment, and its folder's name: up to 64
    letters, digits, '.', '_' or '-', the first a letter or digit."""
    description: str = ""
    """What the experiment asks, in words; shown with the records."""
    seed: Annotated[int, Field(ge=0, lt=_SEEDS)] = 0
    """Number that every random stream is derived from (dimensionless, 0 <= value < 2**32)."""
    deterministic: (
        Annotated[Literal[True, False, "warn"], BeforeValidator(no_number)] | None
    ) = None
    """Whether only deterministic algorithms may be used: `true`, `false`, or `warn`, which
    names the others and goes on. Unset: by the kind of device, shown by `orchestrator plan`."""
    storage_path: StoragePath | None = None
    """Folder for everything that is written, relative to the YAML file; or an address of object
    storage, such as `s3://BUCKET/NAME`. Unset: ORCHESTRATOR_STORAGE, or `./runs`."""
    data: DataSpec
    """What is trained on, and how much of it at once; a section of keys."""
    model: ModelSpec
    """The network; a section of keys."""
    loss: LossSpec = LossSpec()
    """What is minimised; a section of keys."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """How a gradient becomes a step; a section of keys."""
    schedule: ScheduleSpec = ScheduleSpec()
    """The learning rate over a training; a section of keys."""
    training: TrainingSpec
    """How long, and which epoch counts; a section of keys."""
    fine_tune: FineTuneSpec | None = None
    """Learning rates of backbone and head, in place of optimizer.lr; a section of keys.
    Unset: one rate for all parameters."""
    resources: sections.ResourcesSpec = sections.ResourcesSpec()
    """What one run takes of the machines; a section of keys."""
    search: SearchSpec = SearchSpec()
    """Which settings are trained and how they are compared; a section of keys."""
    tracking: sections.TrackingSpec = sections.TrackingSpec()
    """Where MLflow keeps the records; a section of keys."""
    checkpoint: sections.CheckpointSpec = sections.CheckpointSpec()
    """Not built yet; a section of keys."""

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        yield from compare_sections(self)
        last = self.seed + self.search.seeds - 1
        if last >= _SEEDS:
            yield "search.seeds", f"the last seed, {last}, must be less than {_SEEDS}"


@dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """What the author asked for: one setting in full, and the spaces that are searched."""

    keys: Keys
    """Every key, with the first value of each search space in its place."""
    spaces: Mapping[str, Space]
    """Dotted key to search space, in file order; empty where nothing is searched."""
    source: str
    """Name shown in messages: the path as given, or `<dict>`."""
    text: str
    """The spec as one YAML text, spaces in place, after `extends` and overrides."""
    notes: tuple[str, ...] = ()
    """What to tell the user that is not a mistake."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Dotted key to where it was written, as messages show it: `file:line:column`."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Dotted key to the folder that paths written there are relative to."""

    def place_of(self, key: str) -> str:
        """Where a key was written, or else the section that it would stand in."""
        while key and key not in self.places:
            key = key.rpartition(".")[0]
        return self.places.get(key, self.source)

    def at(self, values: Mapping[str, Scalar]) -> Keys:
        """Return the keys with these dotted keys set; every rule across keys is checked again.

        Raises:
            SpecError: The combination is refused.
        """
        keys, issues = check_values(Keys, replace_values(self.keys.model_dump(), values))
        if keys is None:
            at = describe_setting(values)
            raise SpecError(
                [
                    f"{self.place_of(issue.key)}: {issue.key}: {issue.text}, at {at}"
                    for issue in issues
                ]
            )
        return keys


def describe_setting(values: Mapping[str, Scalar]) -> str:
    """Return a setting as messages show it: `training.epochs=2, optimizer.name='sgd'`."""
    return ", ".join(f"{key}={value_text(value)}" for key, value in values.items())


def replace_values(tree: Mapping[str, Any], values: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return a copy of a nested map with the values at these dotted keys replaced."""
    replaced = dict(tree)
    for key, value in values.items():
        head, _, rest = key.partition(".")
        replaced[head] = replace_values(replaced[head], {rest: value}) if rest else value
    return replaced
