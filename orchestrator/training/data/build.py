"""Key `data`: the images of a run, from whatever data set its plan names.

Which images are trained on and which labels are redrawn come from the run's seed; the split
into training, validation and test images is fixed by the data and is the same for every seed. A
part that is not asked for is never opened: nobody looks at test images by accident.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan, NormalizePlan
from orchestrator.training.data.image_set import ImageSet, Pixels, TensorPixels
from orchestrator.training.data.loading import LoadedSet, load_set
from orchestrator.training.data.normalization import IDENTITY, Normalization, measure
from orchestrator.training.data.reading import preserved_generators
from orchestrator.training.data.subset import redraw_labels, stratified_subset

_SUMMED = 4096
"""Images in memory that are summed at once."""


@dataclass(frozen=True, eq=False)
class RunData:
    """What one run trains on and is judged by."""

    classes: tuple[str, ...]
    """Names, in the order of their indices."""
    parts: Mapping[str, ImageSet]
    """Those that were asked for."""
    skipped: tuple[str, ...]
    """Files of these parts that could not be read and were left out."""

    @property
    def train(self) -> ImageSet:
        """The training images."""
        return self.parts["train"]

    @property
    def val(self) -> ImageSet:
        """The validation images."""
        return self.parts["val"]

    @property
    def test(self) -> ImageSet:
        """The test images."""
        return self.parts["test"]

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training images of each class, by the labels that are learned from."""
        counts = torch.bincount(self.train.labels, minlength=len(self.classes))
        return tuple(counts.tolist())


def build_data(
    plan: DataPlan, place: Place, *, seed: int, parts: tuple[str, ...] = ("train", "val")
) -> RunData:
    """The images of a run; asked for again in this process they are the same objects.

    Validation labels are never touched: noise is a property of what is learned from.

    Args:
        plan: Key `data`, decided. A `train_size` or `num_classes` of 0 takes what there is.
        place: Where the data lies.
        seed: The run's seed, which draws the subset and the redrawn labels.
        parts: Those that are wanted among `train`, `val` and `test`.

    Raises:
        TrainingError: The data is not there, cannot be read, or is not as planned; one line.
    """
    drawn = replace(
        _without_batches(plan),
        train_size=plan.train_size,
        label_noise=plan.label_noise,
        normalize=plan.normalize,
    )
    return _build_run(_Request.of(drawn, place), seed, parts)


@dataclass(frozen=True)
class _Request:
    """A plan and a place as a key: equal where their texts are."""

    text: str
    plan: DataPlan = field(compare=False)
    place: Place = field(compare=False)

    @classmethod
    def of(cls, plan: DataPlan, place: Place) -> "_Request":
        where = replace(place, folder="", loader_workers=0, weights="")
        text = json.dumps([asdict(plan), asdict(where)], sort_keys=True)
        return cls(text, plan, where)


@lru_cache(maxsize=8)
def _build_run(request: _Request, seed: int, parts: tuple[str, ...]) -> RunData:
    plan = request.plan
    # Statistics are those of the training images, also where only others are scored.
    measured = plan.normalize.by == "measured"
    needed = tuple(dict.fromkeys((*parts, "train"))) if measured else parts
    whole = _load(_Request.of(_without_batches(plan), request.place), needed)
    found = dict(whole.parts)
    if "train" in found:
        found["train"] = _choose_training(found["train"], plan, whole, seed=seed)
    normalization = _normalization(plan, found.get("train"))
    return RunData(
        whole.classes,
        MappingProxyType(
            {part: replace(found[part], normalization=normalization) for part in parts}
        ),
        whole.skipped,
    )


@lru_cache(maxsize=4)
def _load(request: _Request, parts: tuple[str, ...]) -> LoadedSet:
    """The same for every seed, size and noise: a warm lane opens a data set once."""
    return load_set(request.plan, request.place, parts)


def _choose_training(
    images: ImageSet, plan: DataPlan, whole: LoadedSet, *, seed: int
) -> ImageSet:
    size = plan.train_size or len(images)
    if size > len(images):
        if not whole.skipped:
            raise TrainingError(
                f"data.train_size: must be at most {len(images)} (got {size}), the training "
                f"images of {plan.dataset}"
            )
        size = len(images)
    if size < len(images):
        images = images.select(stratified_subset(images.labels, size, seed=seed))
    labels = redraw_labels(
        images.labels, share=plan.label_noise, num_classes=len(whole.classes), seed=seed
    )
    return replace(images, labels=labels)


def _normalization(plan: DataPlan, train: ImageSet | None) -> Normalization:
    if plan.normalize.by == "none":
        return IDENTITY
    if plan.normalize.by == "given":
        return Normalization(plan.normalize.mean, plan.normalize.std)
    assert train is not None
    return _measure(train.pixels, train.rows)


@lru_cache(maxsize=4)
def _measure(pixels: Pixels, rows: Tensor) -> Normalization:
    """Kept by the very objects: runs that train on all images share them."""
    if isinstance(pixels, TensorPixels):
        return measure(pixels.tensor[part] for part in rows.split(_SUMMED))
    with preserved_generators(everything=pixels.draws):
        return measure(map(pixels.read, rows.tolist()))


def _without_batches(plan: DataPlan) -> DataPlan:
    """The plan without whatever says how images are chosen, changed and put into batches."""
    return replace(
        plan,
        batch_size=0,
        train_size=0,
        label_noise=0.0,
        drop_last=False,
        sampler="shuffle",
        repeated_augmentation=1,
        train_transforms=(),
        eval_transforms=(),
        normalize=NormalizePlan(by="none", mean=(), std=()),
        mixup=0.0,
        cutmix=0.0,
        mix_off_epoch=None,
    )
