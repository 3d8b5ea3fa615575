"""Keys `loss`, `optimizer`, `schedule` and `training`: how a network learns."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from orchestrator.specs.mistakes import value_text
from orchestrator.specs.names import (
    LOSSES,
    WITH_MOMENTUM,
    WITHOUT_WEIGHT_DECAY,
    OptimizerName,
)
from orchestrator.specs.search import MetricName
from orchestrator.specs.section import (
    LISTED,
    NOT_EMPTY,
    Arguments,
    Finding,
    Section,
    name_of,
    name_schema,
    refuse,
)


def _class_weights(value: object) -> object:
    if value in ("none", "balanced"):
        return value
    if not isinstance(value, list | tuple) or not value:
        raise refuse(f"must be none, balanced or a list of numbers (got {value_text(value)})")
    for weight in value:
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            raise refuse(f"must be numbers greater than 0 (got {value_text(weight)})")
    return tuple(float(weight) for weight in value)


def _micro_batch(value: object) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 2
    if value is None or value == "auto" or is_count:
        return value
    raise refuse(f"must be auto, or a whole number of 2 at least (got {value_text(value)})")


class LossSpec(Section):
    """Key `loss`: what is minimised."""

    name: Annotated[str, name_of("loss.name", LOSSES), WithJsonSchema(name_schema(LOSSES))] = (
        "cross_entropy"
    )
    """Name of the loss: `cross_entropy`, `bce` (binary cross-entropy of each class on soft
    targets; arXiv:2110.00476), both in nats and averaged over the images of a batch, or one's
    own as `module:callable`, called with logits (B, C) and targets (B, C)."""
    arguments: Arguments = Field(default_factory=dict)
    """Arguments of one's own loss."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability mass moved from the true class to other classes (dimensionless,
    0 <= value < 1). 0 is plain cross-entropy.
    Source: Szegedy et al. 2016, section 7, arXiv:1512.00567."""
    smoothing: Literal["uniform", "others"] = "uniform"
    """Where the mass goes: to all K classes alike, the true one included (`uniform`, torch's
    form), or to the K - 1 others (`others`, as many tutorials have it). `others` at eps is
    `uniform` at eps K / (K - 1)."""
    class_weights: Annotated[
        Any,
        BeforeValidator(_class_weights),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["none", "balanced"]},
                    {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
                ]
            }
        ),
    ] = "none"
    """Weight of each class in the loss: `none`, `balanced` (N / (K n_c), by the training
    labels), or a list of one number per class (dimensionless, > 0)."""

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        if self.arguments and self.name in LOSSES:
            yield "arguments", f"{self.name} takes no arguments; leave them out"
        if self.class_weights != "none" and self.name not in LOSSES:
            text = f"is not given to {self.name}; weight the classes in it, and leave this out"
            yield "class_weights", text
        if self.smoothing != "uniform" and not self.label_smoothing:
            yield "smoothing", "belongs to label_smoothing, which is 0"


class OptimizerSpec(Section):
    """Key `optimizer`: how a gradient becomes a step."""

    name: OptimizerName = "sgd"
    """Name of the optimizer, torch's in small letters: `sgd`, `adamw` (Loshchilov and Hutter
    2019, arXiv:1711.05101), and others."""
    lr: Annotated[float, Field(gt=0.0)] | None = None
    """Learning rate, the highest that the schedule reaches (dimensionless, > 0).
    Unset: a usual value for the optimizer, shown by `orchestrator plan`."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Share of the last step carried into the next; `sgd` and `rmsprop` only (dimensionless,
    0 <= value < 1). Unset: a usual value, shown by `orchestrator plan`."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Shrinkage of the weights per step, as torch defines it for the optimizer
    (dimensionless, >= 0)."""
    decay_norm_and_bias: bool = True
    """Whether weight decay also shrinks normalisation layers and biases (true or false).
    Source for leaving them out: He et al. 2019, arXiv:1812.01187."""
    scale_lr: Literal["none", "linear", "sqrt"] = "none"
    """Whether all learning rates grow with the batch: by data.batch_size / reference_batch_size
    (`linear`, arXiv:1706.02677), by its square root (`sqrt`), or not (`none`)."""
    reference_batch_size: Annotated[int, Field(ge=1)] = 256
    """Batch that the learning rates are meant for, with scale_lr (count, >= 1)."""
    arguments: Arguments = Field(default_factory=dict)
    """Further arguments of torch's optimizer by name, such as {nesterov: true}."""

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        for key in ("lr", "momentum", "weight_decay"):
            if key in self.arguments:
                yield f"arguments.{key}", f"is a key of its own, optimizer.{key}"

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        if self.momentum is not None and self.name not in WITH_MOMENTUM:
            text = f"belongs to sgd and rmsprop, {self.name} has no momentum"
            yield "momentum", f"{text} (got {self.momentum}); leave it out"
        if self.weight_decay and self.name in WITHOUT_WEIGHT_DECAY:
            yield "weight_decay", f"{self.name} has no weight decay; leave it out"
        if self.scale_lr == "none" and self.differs("reference_batch_size"):
            yield "reference_batch_size", "belongs to scale_lr: linear or sqrt, which is none"


class ScheduleSpec(Section):
    """Key `schedule`: the learning rate over a training, set anew for every batch."""

    name: Literal["constant", "step", "multistep", "cosine", "one_cycle"] = "constant"
    """Name of the course: `constant`; `step` and `multistep`, which fall by gamma; `cosine`
    (Loshchilov and Hutter 2017, arXiv:1608.03983); `one_cycle` (Smith and Topin 2018,
    arXiv:1708.07120)."""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Rise of the learning rate at the start, in epochs, fractions allowed
    (0 <= value < training.epochs). 0: no rise beyond the one that the course itself has."""
    step_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs between two falls of `step` (count, >= 1)."""
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], LISTED, NOT_EMPTY] | None = (
        None
    )
    """Epochs after which `multistep` falls (counts, rising)."""
    gamma: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Factor of a fall of `step` and `multistep` (dimensionless, 0 < value < 1). Unset: 0.1."""

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        for key, course in (("step_epochs", "step"), ("milestones", "multistep")):
            if self.name == course and getattr(self, key) is None:
                yield key, f"required with schedule.name: {course}"
        falls = list(self.milestones or ())
        if falls != sorted(set(falls)):
            yield "milestones", f"must rise (got {falls})"

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        for key, course in (("step_epochs", "step"), ("milestones", "multistep")):
            if self.name != course and getattr(self, key) is not None:
                yield key, f"belongs to {course}, {self.name} does not fall so"
        if self.gamma is not None and self.name not in ("step", "multistep"):
            yield "gamma", f"belongs to step and multistep, not to {self.name}"


class EarlyStoppingSpec(Section):
    """Key `training.early_stopping`: when to stop because nothing improves any more."""

    metric: MetricName = "val/accuracy"
    """Name of the metric that is watched; its direction is known."""
    patience: Annotated[int, Field(ge=1)]
    """Epochs without improvement before the stop (count, >= 1)."""
    min_delta: Annotated[float, Field(ge=0.0)] = 0.0
    """Least change that counts as one, in the metric's unit (>= 0)."""


class TrainingSpec(Section):
    """Key `training`: how long, how exactly, and which epoch counts."""

    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training set (count, >= 1)."""
    select: Literal["last", "best"] = "last"
    """Which epoch counts, with its metrics and its weights: the `last`, or the `best` by
    search.metric, which is optimistic, as it is chosen on the images that it is scored on."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the arithmetic of convolutions and matrix products; `float16` on GPUs only.
    Weights stay float32."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Parts that a worker's share of a batch is cut into, their gradients summed before the one
    step (count, >= 1): less memory, the same global batch."""
    micro_batch: Annotated[
        Any,
        BeforeValidator(_micro_batch),
        WithJsonSchema(
            {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 2}, {"type": "null"}]}
        ),
    ] = None
    """Images that a worker computes on at once, in place of accumulate (count, >= 2), or `auto`
    for as many as fit, found before training starts. Batch normalisation sees these alone.
    Unset: its share of a batch, by accumulate."""
    clip_norm: Annotated[float, Field(gt=0.0)] | None = None
    """Largest norm of the whole gradient (dimensionless, > 0). Unset: none.
    Source: Pascanu et al. 2013, arXiv:1211.5063."""
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Decay per step of a moving average of the weights, which is then what is validated and
    written (dimensionless, 0 < value < 1, such as 0.999). Unset: none."""
    compile: bool = False
    """Whether the network is compiled by torch.compile (true or false): faster after some
    start-up, the last digits may differ."""
    cudnn_benchmark: bool = False
    """Whether cuDNN tries out its algorithms and keeps the fastest (true or false); needs
    deterministic: false."""
    early_stopping: EarlyStoppingSpec | None = None
    """When to stop because nothing improves any more; a section of keys. Unset: never."""

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        if self.micro_batch is not None and self.accumulate > 1:
            yield "micro_batch", "says the same as accumulate; leave one of the two out"
