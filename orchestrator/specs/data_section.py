"""Key `data`: which images, how they are changed on the way, in which batches."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from orchestrator.specs.names import DATA_SETS, SYNTHETIC_ARGUMENTS, TORCHVISION_DATA_SETS
from orchestrator.specs.section import (
    LISTED,
    OWN_CODE,
    Arguments,
    Section,
    name_of,
    name_schema,
    no_number,
    refuse,
)
from orchestrator.specs.transforms import PRESETS, STEPS_SCHEMA, check_steps, check_transforms

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
DataSetName = Annotated[
    str, name_of("data.dataset", DATA_SETS), WithJsonSchema(name_schema(DATA_SETS))
]
Transforms = Annotated[
    Any,
    BeforeValidator(check_transforms),
    WithJsonSchema({"anyOf": [{"enum": list(PRESETS)}, STEPS_SCHEMA]}),
]
Steps = Annotated[Any, BeforeValidator(check_steps), WithJsonSchema(STEPS_SCHEMA)]


class DataSpec(Section):
    """Key `data`: which images, how they are changed on the way, in which batches."""

    dataset: DataSetName
    """Name of the data set: `digits` (scikit-learn's 1,797 scanned digits of 8x8 pixels in 10
    classes, shipped inside the package), `synthetic` (made up, of any size, for measurements),
    `image_folder` (a folder per class), `table` (a CSV file of path,label[,split,group]), one
    of torchvision's, such as `cifar10`, or the user's own as `module:callable`."""
    arguments: Arguments = Field(default_factory=dict)
    """Arguments of one's own data set; for `synthetic`: train_size, val_size, num_classes,
    channels, image_size (counts, and pixels)."""
    root: str | None = None
    """Folder that holds the data set, or the CSV file of `table`, relative to the YAML file;
    left out for `digits` and `synthetic`."""
    download: bool = False
    """Whether torchvision may fetch the data set where it is not there (true or false)."""
    classes: Annotated[tuple[str, ...], LISTED] | None = None
    """Names of the classes to keep, in the order of their indices. Unset: all."""
    val_share: Share = 0.2
    """Share of the images to validate on, where the data has no such part: stratified by class,
    the same for every seed (dimensionless, 0 < value < 1)."""
    test_share: Share = 0.0
    """Share of the images set aside for `evaluate --split test`, where the data has no such
    part (dimensionless, 0 <= value < 1)."""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """Height and width to which images are brought, in pixels (>= 8). Unset: the data set's
    own size where all images have one, else 224."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images per optimizer step, over all workers together (count, >= 2)."""
    loader_workers: Annotated[int, Field(ge=0)] = 0
    """Processes per worker that load images ahead (count, >= 0); 0 loads in the worker itself.
    Changes the speed, never the numbers."""
    train_size: Annotated[int, Field(ge=2)] | None = None
    """Training images to keep, drawn from the seed in equal shares per class (count, >= 2).
    Unset: all."""
    label_noise: Share = 0.0
    """Share of the training labels redrawn at random from the seed (dimensionless,
    0 <= value < 1). Validation labels stay clean."""
    drop_last: bool = False
    """Whether a last, smaller batch of an epoch is left out (true or false)."""
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """Which images make an epoch: each once (`shuffle`), or as many of every class, those of
    small classes several times (`balanced`)."""
    repeated_augmentation: Annotated[int, Field(ge=1)] = 1
    """Copies of an image in one batch, each augmented anew (count, >= 1); an epoch stays as
    long and sees fewer images. Source: Hoffer et al. 2020, arXiv:1901.09335."""
    transforms: Transforms = "none"
    """What happens to a training image, in words: `none`, `light` (shifted crop, flip),
    `imagenet` (RandomResizedCrop, flip, colour jitter, rotation; evaluation Resize and
    CenterCrop), or a list of torchvision's v2 transforms by name, such as
    [RandomHorizontalFlip, {RandomCrop: {size: 28}}], and of one's own as `module:callable`.
    Normalisation comes last, by itself."""
    eval_transforms: Steps = None
    """The same for validation and test images, where transforms is a list. Unset: Resize and
    CenterCrop to image_size."""
    auto_augment: Literal["none", "randaugment", "trivialaugment", "augmix"] = "none"
    """Automatic augmentation added to a preset. Sources: arXiv:1909.13719, arXiv:2103.10158,
    arXiv:1912.02781."""
    random_erasing: Share = 0.0
    """Probability with which a rectangle of a training image is erased, added to a preset
    (dimensionless, 0 <= value < 1). Source: Zhong et al. 2020, arXiv:1708.04896."""
    normalize: Literal["none", "imagenet", "measured", "given"] | None = None
    """What pixels in [0, 1] are normalised by: nothing, the statistics of ImageNet, those of
    the training images, or mean and std as given. Unset: `imagenet` with the preset of that
    name or weights of torchvision's, else `none`."""
    mean: Annotated[tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...], LISTED] | None = None
    """Mean per channel, in [0, 1], with normalize: given (dimensionless)."""
    std: Annotated[tuple[Annotated[float, Field(gt=0.0)], ...], LISTED] | None = None
    """Standard deviation per channel, with normalize: given (dimensionless, > 0)."""
    mixup: Annotated[float, Field(ge=0.0)] = 0.0
    """Parameter alpha of MixUp's Beta distribution (dimensionless, >= 0); 0 is without.
    Source: Zhang et al. 2018, arXiv:1710.09412."""
    cutmix: Annotated[float, Field(ge=0.0)] = 0.0
    """Parameter alpha of CutMix's Beta distribution (dimensionless, >= 0); 0 is without. With
    both, each batch draws one of the two. Source: Yun et al. 2019, arXiv:1905.04899."""
    mix_off_epoch: Annotated[int, Field(ge=2)] | None = None
    """First epoch without MixUp and CutMix (count from 1, >= 2). Unset: they stay on."""
    cache: Annotated[Literal["auto", True, False], BeforeValidator(no_number)] = "auto"
    """Whether decoded images are kept on the node's disk (true or false), `auto`: where they
    fit. Changes the speed, never the numbers."""
    on_corrupt: Literal["fail", "skip"] = "fail"
    """What to do about an image that cannot be read: `fail` names it, `skip` leaves it out and
    counts it."""

    @model_validator(mode="after")
    def _root_and_arguments_are_read(self) -> "DataSpec":
        if self.dataset in ("digits", "synthetic") and self.root is not None:
            how = "shipped inside the package" if self.dataset == "digits" else "made up"
            raise refuse(f"{self.dataset} is {how}; leave root out", key="root")
        if self.dataset in DATA_SETS[2:] and self.root is None:
            raise refuse(f"required for {self.dataset}", key="root")
        if self.dataset == "synthetic":
            for name in self.arguments.keys() - SYNTHETIC_ARGUMENTS:
                known = ", ".join(SYNTHETIC_ARGUMENTS)
                raise refuse(
                    f"no such argument; synthetic takes {known}", key=f"arguments.{name}"
                )
        elif self.arguments and self.dataset in DATA_SETS:
            raise refuse(f"{self.dataset} takes no arguments; leave them out", key="arguments")
        return self

    @model_validator(mode="after")
    def _only_what_is_read_is_set(self) -> "DataSpec":
        if self.download and self.dataset not in TORCHVISION_DATA_SETS:
            raise refuse(f"{self.dataset} cannot be fetched; leave it out", key="download")
        splits = {"val_share": 0.2, "test_share": 0.0}
        for key, default in splits.items():
            if self.dataset not in DATA_SETS[2:] and getattr(self, key) != default:
                raise refuse(f"{self.dataset} brings its own split; leave it out", key=key)
        if self.val_share + self.test_share >= 1:
            raise refuse("leaves with test_share nothing to train on", key="val_share")
        return self

    @model_validator(mode="after")
    def _classes_are_several(self) -> "DataSpec":
        if self.classes is not None:
            if len(self.classes) < 2:
                raise refuse(
                    f"must be 2 names or more (got {len(self.classes)})", key="classes"
                )
            if len(set(self.classes)) < len(self.classes):
                raise refuse("a name is there twice", key="classes")
        return self

    @model_validator(mode="after")
    def _transforms_belong_together(self) -> "DataSpec":
        if isinstance(self.transforms, str) and not OWN_CODE.fullmatch(self.transforms):
            if self.eval_transforms is not None:
                raise refuse(
                    f"belongs to a list of transforms, {self.transforms} has its own",
                    key="eval_transforms",
                )
            return self
        for key, off in (("auto_augment", "none"), ("random_erasing", 0.0)):
            if getattr(self, key) != off:
                raise refuse("is added to presets; write it into the list", key=key)
        return self

    @model_validator(mode="after")
    def _statistics_are_given_where_asked(self) -> "DataSpec":
        for key in ("mean", "std"):
            if (getattr(self, key) is None) is (self.normalize == "given"):
                text = "required with" if self.normalize == "given" else "belongs to"
                raise refuse(f"{text} data.normalize: given", key=key)
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise refuse(f"has {len(self.std)} values, mean has {len(self.mean)}", key="std")
        return self
