"""What a run computes, key by key, decided: the parts of `Numbers`.

Standard library alone, so that a bare PyTorch machine can read a plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Arguments = Mapping[str, Any]
"""Keyword arguments as plain JSON values."""

SYNTHETIC: Final[Mapping[str, int]] = {
    "train_size": 1024,
    "val_size": 256,
    "num_classes": 10,
    "channels": 3,
    "image_size": 32,
}
"""Arguments of the data set `synthetic`, and what they are where they are left out."""


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One transform of an image: torchvision's name of it, or the user's `module:callable`."""

    name: str
    arguments: Arguments


@dataclass(frozen=True, kw_only=True)
class NormalizePlan:
    """What pixels are normalised by, once they are in [0, 1]."""

    by: Literal["none", "given", "measured"]
    mean: tuple[float, ...]
    """One per channel, or one for all; empty unless given."""
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Which images, in which batches."""

    dataset: str
    """Name of the data set, or `module:callable` of the user's own."""
    arguments: Arguments
    manifest: str
    """Digest of the files' names, labels and sizes; empty where no files are read."""
    classes: tuple[str, ...]
    """Names of the classes kept, in the order of their indices; empty for all."""
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
    val_share: float
    """Share of the images to validate on, where the data has no such part."""
    test_share: float
    sampler: Literal["shuffle", "balanced"]
    repeated_augmentation: int
    """Copies of an image in one batch, each augmented anew; 1 for none."""
    train_transforms: tuple[StepPlan, ...]
    """Applied to each training image, uint8, before it is normalised."""
    eval_transforms: tuple[StepPlan, ...]
    normalize: NormalizePlan
    mixup: float
    """Parameter of the Beta distribution that MixUp draws from; 0 for none."""
    cutmix: float
    mix_off_epoch: int | None
    """First epoch without MixUp and CutMix; None for never."""
    on_corrupt: Literal["fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class WeightsPlan:
    """Where a network's weights come from, in place of random ones."""

    source: str
    """As it was asked for: torchvision's name of them, a file, or `run:RUN`."""
    sha256: str
    """Digest of the file; empty for torchvision's, which carry their own in their name."""
    strict: bool
    """Refuse anything but all of the tensors."""
    min_loaded: float
    """Least share of the parameters that must be found."""


@dataclass(frozen=True, kw_only=True)
class TensorRulePlan:
    """Parameters that are set to a given tensor."""

    match: str
    """Regular expression searched for in the parameter's name."""
    file: str
    """Absolute path of a safetensors file."""
    key: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """The network, and the weights that it starts from."""

    architecture: str
    """Name of the network, or `module:callable` of the user's own."""
    arguments: Arguments
    head: Literal["linear", "gap"]
    """`gap`: global average pooling and one linear layer in place of fully connected ones."""
    weights: WeightsPlan | None
    initialization: Literal["default", "kaiming", "zero_last_bn"]
    rules: tuple[TensorRulePlan, ...]
    sync_batch_norm: bool
    channels_last: bool


@dataclass(frozen=True, kw_only=True)
class LossPlan:
    """What is minimised."""

    name: str
    """`cross_entropy`, `bce`, or `module:callable` of the user's own."""
    arguments: Arguments
    label_smoothing: float
    smoothing: Literal["uniform", "others"]
    """Classes that the moved mass goes to: all, or all but the true one."""
    class_weights: Literal["none", "balanced"] | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class OptimizerPlan:
    """The optimizer and its base rate."""

    name: str
    lr: float
    """Learning rate of all parameters that no group says otherwise of."""
    weight_decay: float
    decay_norm_and_bias: bool
    """Whether weight decay reaches normalisation layers and biases."""
    arguments: Arguments
    """Further arguments of torch's class."""


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """Parameters that share a rate: the first group that takes a parameter has it."""

    name: str
    match: str | None
    """Regular expression searched for in the parameter's name; None for any."""
    type: str | None
    """Class name of the layer that the parameter belongs to; None for any."""
    head: bool
    """Whether to take the classifying layers alone."""
    lr: float
    """0 freezes the parameters."""
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class UnfreezePlan:
    """Parameters that begin to learn in the middle of a training."""

    epoch: int
    """First epoch in which they learn, counted from 1."""
    match: str
    lr: float
    """Their rate from then on."""


@dataclass(frozen=True, kw_only=True)
class FineTunePlan:
    """Which parameters learn how fast, and from when on."""

    groups: tuple[GroupPlan, ...]
    """Empty: one group of all parameters, at the optimizer's rate."""
    layer_decay: float | None
    """Factor on the rate per layer away from the head; None for none."""
    linear_probe_epochs: int
    """Epochs in which the head alone learns, before all do."""
    unfreeze: tuple[UnfreezePlan, ...]


@dataclass(frozen=True, kw_only=True)
class SchedulePlan:
    """How the learning rates move, optimizer step by optimizer step."""

    name: Literal["constant", "step", "multistep", "cosine", "one_cycle"]
    warmup_epochs: float
    step_epochs: int
    """Epochs between two falls of `step`."""
    milestones: tuple[int, ...]
    """Epochs after which `multistep` falls."""
    gamma: float
    """Factor of a fall."""


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingPlan:
    """When to stop because nothing improves any more."""

    metric: str
    maximize: bool
    patience: int
    """Epochs without improvement before the stop."""
    min_delta: float


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How the training goes."""

    epochs: int
    precision: Literal["float32", "bfloat16", "float16"]
    accumulate: int
    """Parts that a worker's share of a batch is cut into, one after the other; 0 for as few as
    fit, found before the first step."""
    clip_norm: float | None
    ema: float | None
    """Decay per step of the exponential moving average of the weights; None for none."""
    compile: bool
    cudnn_benchmark: bool
    early_stopping: EarlyStoppingPlan | None
