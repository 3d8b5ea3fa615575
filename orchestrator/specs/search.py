"""Search spaces, written in place of values, and key `search`: how settings are judged.

A searched key must not bend the yardstick: a metric that the key changes by itself, whatever
the model has learned, answers another question than the one that was asked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from orchestrator.specs.section import Section

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Grid:
    """Every value, combined with every value of every other grid."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Choice:
    """One of the values, drawn at random, each as likely as the others."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Uniform:
    """A number between low and high, drawn at random, each as likely as the others."""

    low: float
    high: float


@dataclass(frozen=True)
class LogUniform:
    """A number between low and high (low > 0) whose logarithm is drawn uniformly at random."""

    low: float
    high: float


@dataclass(frozen=True)
class RandInt:
    """A whole number from low to high, both included, drawn at random."""

    low: int
    high: int


Space = Grid | Choice | Uniform | LogUniform | RandInt


def corners(space: Space) -> tuple[Scalar, ...]:
    """Return the values that must be valid for the whole space to be: all, or both ends."""
    if isinstance(space, Grid | Choice):
        return space.values
    return (space.low, space.high)


@dataclass(frozen=True)
class MetricInfo:
    """A metric that every run reports."""

    maximize: bool
    text: str


MetricName = Literal[
    "val/accuracy",
    "val/top5",
    "val/balanced_accuracy",
    "val/macro_f1",
    "val/nll",
    "val/nll_calibrated",
    "val/ece",
    "val/ece_adaptive",
    "val/brier",
    "train/loss",
]

METRICS: Mapping[str, MetricInfo] = {
    "val/accuracy": MetricInfo(
        True, "share of validation images classified correctly, in [0, 1]"
    ),
    "val/top5": MetricInfo(True, "share with the true class among the five likeliest"),
    "val/balanced_accuracy": MetricInfo(True, "mean over the classes of their recall"),
    "val/macro_f1": MetricInfo(True, "mean over the classes of their F1 score"),
    "val/nll": MetricInfo(
        False, "negative log-likelihood on the validation set, in nats per image"
    ),
    "val/nll_calibrated": MetricInfo(
        False, "the same after temperature scaling, in nats per image"
    ),
    "val/ece": MetricInfo(False, "expected calibration error, 15 bins of equal width"),
    "val/ece_adaptive": MetricInfo(False, "the same with 15 bins of equally many images"),
    "val/brier": MetricInfo(False, "squared error of the probabilities, in [0, 2]"),
    "train/loss": MetricInfo(False, "the loss that is minimised, in nats per training image"),
}


@dataclass(frozen=True)
class Bent:
    """What a searched key does to metrics by itself, and what to judge by instead."""

    metrics: frozenset[str]
    reason: str
    instead: str


_UNCALIBRATED = frozenset({"val/nll", "val/ece", "val/ece_adaptive", "val/brier"})
_SMOOTHING = Bent(
    _UNCALIBRATED | {"train/loss"},
    "the training loss is itself smoothed; un-smoothed NLL, ECE and Brier prefer 0 whatever "
    "the accuracy does, since smoothing changes the temperature of the logits",
    "val/accuracy",
)
_MIXING = Bent(
    _UNCALIBRATED | {"train/loss"},
    "the training loss is measured on mixed images; NLL, ECE and Brier follow the temperature "
    "of the logits, which mixing changes whatever the accuracy does",
    "val/accuracy",
)
_OTHER_LOSS = Bent(
    frozenset({"train/loss"}), "it is part of what the training loss means", "val/accuracy"
)

_OTHER_IMAGES = Bent(
    frozenset({"train/loss"}),
    "the training loss is measured on other images",
    "val/accuracy",
)

BENT_BY: Mapping[str, Bent] = {
    "loss.label_smoothing": _SMOOTHING,
    "loss.smoothing": _SMOOTHING,
    "data.mixup": _MIXING,
    "data.cutmix": _MIXING,
    "data.mix_off_epoch": _MIXING,
    "data.transforms": _OTHER_IMAGES,
    "data.auto_augment": _OTHER_IMAGES,
    "data.random_erasing": _OTHER_IMAGES,
    "data.repeated_augmentation": _OTHER_IMAGES,
    "data.sampler": _OTHER_IMAGES,
    "loss.arguments": _OTHER_LOSS,
    "loss.name": _OTHER_LOSS,
    "loss.class_weights": _OTHER_LOSS,
    "data.label_noise": Bent(
        frozenset({"train/loss"}),
        "the training loss is measured against the redrawn labels themselves",
        "val/accuracy",
    ),
}


def confounded_reason(searched: Iterable[str], metric: str) -> str:
    """Say why `metric` cannot compare settings of the searched keys; "" where it can.

    Args:
        searched: Dotted keys; a mapping of search spaces will do.
        metric: Name of a metric, such as `val/nll`.
    """
    reasons = [
        f"{key} bends {metric} by itself: {bent.reason}"
        for key in searched
        for bent in [BENT_BY.get(key) or BENT_BY.get(key.rpartition(".")[0])]
        if bent is not None and metric in bent.metrics
    ]
    return "; ".join(reasons)


_ONE_DATA_SET = "cannot be searched; settings are compared on one data set"
_SPEED = "cannot be searched; it changes the speed, never the numbers"
_FIXED: Mapping[str, str] = {
    "seed": "cannot be searched; use search.seeds",
    "name": "cannot be searched; it names the experiment",
    "description": "cannot be searched; it describes the experiment",
    "deterministic": "cannot be searched; it is fixed when a worker process starts",
    "storage_path": "cannot be searched; everything is written to one folder",
    "data.dataset": _ONE_DATA_SET,
    "data.arguments": _ONE_DATA_SET,
    "data.root": _ONE_DATA_SET,
    "data.classes": _ONE_DATA_SET,
    "data.val_share": _ONE_DATA_SET,
    "data.test_share": _ONE_DATA_SET,
    "data.on_corrupt": _ONE_DATA_SET,
    "data.download": _SPEED,
    "data.loader_workers": _SPEED,
    "data.cache": _SPEED,
    "training.select": "cannot be searched; settings are compared by the same rule",
    "resources": "cannot be searched; it is fixed when a worker process starts",
    "search": "cannot be searched; it says how to search",
    "tracking": "cannot be searched; all records go to one store",
}


def why_fixed(key: str) -> str:
    """Say why a key cannot be searched; "" where it can."""
    while key:
        if key in _FIXED:
            return _FIXED[key]
        key = key.rpartition(".")[0]
    return ""


class SearchSpec(Section):
    """Key `search`: which settings are trained, on which seeds, and how they are compared."""

    algorithm: Literal["grid", "random"] | None = None
    """How settings are chosen: `grid` trains every combination, `random` draws them; grids are
    multiplied with what is drawn. Unset: `grid`, which needs every space to be a grid."""
    num_trials: Annotated[int, Field(ge=1)] | None = None
    """Settings drawn (count, >= 1), grids multiplied in: a multiple of their combinations. Each
    is trained on every seed; a baseline that is not among them comes on top. Required with
    `random`, refused where every space is a grid."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Trainings per setting (count, >= 1): 5 means seed, seed + 1, ... seed + 4."""
    metric: MetricName = "val/accuracy"
    """Name of the metric that settings are compared by; its direction is known."""
    baseline: Mapping[str, Scalar] | None = None
    """Setting that all others are compared with: a value for each searched key, named in full
    or by its last part. Unset: the first values of the grids."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """Runs at a time (count, >= 1). Unset: as many as the machines hold."""
    allow_confounded_metric: bool = False
    """Whether to compare by a metric that a searched key itself bends (true or false); the
    answer then carries the caveat."""
