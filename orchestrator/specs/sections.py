"""One frozen model per YAML key; the text under a field is its help and its schema.

A section is closed and computes nothing: what None stands for is decided while planning, where
the machines are known, so that a spec means the same on every machine.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

_PASSWORD = re.compile(r"[\w+.-]+://[^/?#]*:[^/?#]*@")


class Section(BaseModel):
    """A map of the experiment file: closed, frozen, no conversion of one type into another."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def refuse(text: str, *, key: str = "") -> PydanticCustomError:
    """Return the error that a rule raises: `text` is shown as it is, at the dotted `key`."""
    return PydanticCustomError("rule", "{text}", {"text": text, "key": key})


def _known_store(uri: str) -> str:
    if _PASSWORD.match(uri):
        # The address is not repeated: it would be printed, password and all.
        raise refuse(
            "holds a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
            "instead"
        )
    if uri.startswith(("http://", "https://", "sqlite:///")):
        return uri
    reason = "file stores are not supported" if uri.startswith("file:") else "no such store"
    raise refuse(f"{reason} (got {uri!r}); use 'sqlite:///PATH' or an http address")


def _local_folder(path: str) -> str:
    if "://" in path:
        raise refuse(f"object storage is not built yet (got {path!r}); name a folder")
    return path


FolderPath = Annotated[str, AfterValidator(_local_folder)]


class DataSpec(Section):
    """Key `data`: what is trained on, and how much of it at once."""

    dataset: Literal["digits"]
    """Name of the data set. `digits` is scikit-learn's 1,797 scanned digits of 8x8 pixels in 10
    classes, shipped inside the package, with a fixed stratified split."""
    root: str | None = None
    """Folder that holds the data set, relative to the YAML file; left out for `digits`."""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """Height and width to which images are brought, in pixels (>= 8).
    Unset: the data set's own size."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images per optimizer step, over all workers together (count, >= 2)."""
    loader_workers: Annotated[int, Field(ge=0)] = 0
    """Processes per worker that load images ahead (count, >= 0); 0 loads in the worker itself.
    Changes the speed, never the numbers."""
    train_size: Annotated[int, Field(ge=2)] | None = None
    """Training images to keep, drawn from the seed in equal shares per class (count, >= 2).
    Unset: all."""
    label_noise: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the training labels redrawn at random from the seed (dimensionless,
    0 <= value < 1). Validation labels stay clean."""
    drop_last: bool = False
    """Whether a last, smaller batch of an epoch is left out (true or false)."""

    @model_validator(mode="after")
    def _digits_need_no_root(self) -> "DataSpec":
        if self.root is not None:
            raise refuse("digits is shipped inside the package; leave root out", key="root")
        return self


class ModelSpec(Section):
    """Key `model`: the network; its head always has one output per class."""

    architecture: Literal["small_cnn", "resnet18", "resnet34", "resnet50"]
    """Name of the network: `small_cnn` for small images, or torchvision's ResNets.
    Source: He et al. 2016, arXiv:1512.03385."""


class LossSpec(Section):
    """Key `loss`: cross-entropy against smoothed targets."""

    name: Literal["cross_entropy"] = "cross_entropy"
    """Name of the loss; `cross_entropy` is in nats, averaged over the images of a batch."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Probability mass moved from the true class to a uniform distribution over all
    classes (dimensionless, 0 <= value < 1). 0 is plain cross-entropy.
    Source: Szegedy et al. 2016, section 7, arXiv:1512.00567."""


class OptimizerSpec(Section):
    """Key `optimizer`: how a gradient becomes a step."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Name of the optimizer: `sgd`, or `adamw` (Loshchilov and Hutter 2019,
    arXiv:1711.05101)."""
    lr: Annotated[float, Field(gt=0.0)] | None = None
    """Learning rate, the highest that the schedule reaches (dimensionless, > 0).
    Unset: a usual value for the optimizer, shown by `orchestrator plan`."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Share of the last step carried into the next; `sgd` only (dimensionless, 0 <= value < 1).
    Unset: a usual value, shown by `orchestrator plan`."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Shrinkage of the weights per step, as torch defines it for the optimizer
    (dimensionless, >= 0)."""

    @model_validator(mode="after")
    def _momentum_belongs_to_sgd(self) -> "OptimizerSpec":
        if self.name == "adamw" and self.momentum is not None:
            raise refuse(
                f"belongs to sgd, adamw has no momentum (got {self.momentum}); leave it out",
                key="momentum",
            )
        return self


class ScheduleSpec(Section):
    """Key `schedule`: the learning rate over a training, set anew for every batch."""

    name: Literal["constant", "cosine", "one_cycle"] = "constant"
    """Name of the course: `constant`, `cosine` (Loshchilov and Hutter 2017, arXiv:1608.03983),
    or `one_cycle` (Smith and Topin 2018, arXiv:1708.07120)."""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Rise of the learning rate at the start, in epochs, fractions allowed
    (0 <= value < training.epochs). 0: no rise beyond the one that the course itself has."""


class TrainingSpec(Section):
    """Key `training`: how long, and which epoch counts."""

    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training set (count, >= 1)."""
    select: Literal["last", "best"] = "last"
    """Which epoch's metrics count: those of the `last`, or of the `best` by search.metric,
    which is optimistic, as it is chosen on the images that it is scored on. The weights that
    are recorded, by their digest, are the last epoch's either way."""


class FineTuneSpec(Section):
    """Key `fine_tune`: one learning rate for the backbone, one for the head."""

    backbone_lr: Annotated[float, Field(ge=0.0)]
    """Highest learning rate of all parameters but the head's (dimensionless, >= 0).
    0 freezes them."""
    head_lr: Annotated[float, Field(ge=0.0)]
    """Highest learning rate of the last, classifying layer (dimensionless, >= 0).
    0 freezes it."""


class ResourcesSpec(Section):
    """Key `resources`: what one run takes of the machines."""

    num_workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together, each on its share of the batch (count, >= 1)."""
    cpus_per_worker: Annotated[int, Field(ge=1)] = 1
    """CPU cores and threads per worker (count, >= 1). Float sums, hence the numbers, depend on
    it."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=1)] | None = None
    """GPUs per worker (count, 0 or 1). Unset: 1 where there is a GPU, else 0. Several GPUs
    for one run are several workers: resources.num_workers."""


class TrackingSpec(Section):
    """Key `tracking`: where MLflow keeps the records."""

    uri: Annotated[str, AfterValidator(_known_store)] | None = None
    """Address of MLflow's store: `sqlite:///PATH`, relative to the YAML file, or a server's
    http address, without a password: MLflow takes it from MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD. Unset: an SQLite file under storage_path."""


class CheckpointSpec(Section):
    """Key `checkpoint`: none of its keys is built yet."""
