"""Key `data`: which images, how they are changed on the way, in which batches."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from orchestrator.specs.names import (
    DATA_SETS,
    FETCHED_BY_HAND,
    SYNTHETIC_ARGUMENTS,
    TORCHVISION_DATA_SETS,
    WITHOUT_FILES,
)
from orchestrator.specs.section import (
    LISTED,
    OWN_CODE,
    Arguments,
    Finding,
    FolderPath,
    Section,
    name_of,
    name_schema,
    no_number,
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
    of torchvision's, such as `cifar10` (of EMNIST its split `balanced`), or the user's own as
    `module:callable`."""
    arguments: Arguments = Field(default_factory=dict)
    """Arguments of one's own data set; for `synthetic`: train_size, val_size, num_classes,
    channels, image_size (counts, and pixels)."""
    root: FolderPath | None = None
    """Folder that holds the data set, or the CSV file of `table`, relative to the YAML file;
    left out for `digits` and `synthetic`."""
    download: bool = False
    """Whether torchvision may fetch the data set where it is not there (true or false)."""
    classes: Annotated[tuple[str, ...], LISTED] | None = None
    """Names of the classes to keep, in the order of their indices. Unset: all."""
    val_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of the images to validate on, where the data has no such part: stratified by class,
    the same for every seed (dimensionless, 0 < value < 1)."""
    test_share: Share = 0.0
    """Share of the images set aside for `evaluate --split test`, where the data has no such
    part (dimensionless, 0 <= value < 1)."""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """Height and width to which images are brought, in pixels (>= 8). Unset: the data set's
    own size where all images have one, the lesser side of the first image of one's own, else
    224."""
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

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        if self.root is None and self.dataset in DATA_SETS[2:]:
            yield "root", f"required for {self.dataset}"
        if self.val_share + self.test_share >= 1:
            yield "val_share", "leaves with test_share nothing to train on"
        yield from self._check_classes()
        for key in ("mean", "std"):
            if self.normalize == "given" and getattr(self, key) is None:
                yield key, "required with data.normalize: given"
        if self.mean and self.std and len(self.mean) != len(self.std):
            yield "std", f"has {len(self.std)} values, mean has {len(self.mean)}"

    def _check_classes(self) -> Iterator[Finding]:
        if self.dataset == "synthetic":
            known = ", ".join(SYNTHETIC_ARGUMENTS)
            for name in self.arguments.keys() - SYNTHETIC_ARGUMENTS:
                yield f"arguments.{name}", f"no such argument; synthetic takes {known}"
        if self.classes is None:
            return
        if len(self.classes) < 2:
            yield "classes", f"must be 2 names or more (got {len(self.classes)})"
        if len(set(self.classes)) < len(self.classes):
            yield "classes", "a name is there twice"

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        yield from self._idle_by_data_set()
        own_steps = not isinstance(self.transforms, str) or OWN_CODE.fullmatch(self.transforms)
        if self.eval_transforms is not None and not own_steps:
            text = f"belongs to a list of transforms, {self.transforms} has its own"
            yield "eval_transforms", text
        for key in ("auto_augment", "random_erasing"):
            if self.differs(key) and own_steps:
                yield key, "is added to presets; write it into the list"
        for key in ("mean", "std"):
            if getattr(self, key) is not None and self.normalize != "given":
                yield key, "belongs to data.normalize: given"
        if self.mix_off_epoch is not None and not (self.mixup or self.cutmix):
            yield "mix_off_epoch", "belongs to mixup and cutmix, which are off"

    def _idle_by_data_set(self) -> Iterator[Finding]:
        name = self.dataset
        is_own, has_files = (
            name not in DATA_SETS,
            name in DATA_SETS and name not in WITHOUT_FILES,
        )
        how = {"digits": "is shipped inside the package", "synthetic": "is made up"}
        for key, is_idle, text in (
            ("root", name in how, f"{name} {how.get(name)}; leave root out"),
            (
                "arguments",
                not is_own and name != "synthetic",
                f"{name} takes no arguments; leave them out",
            ),
            (
                "download",
                name not in TORCHVISION_DATA_SETS,
                f"{name} cannot be fetched; leave it out",
            ),
            (
                "download",
                name in FETCHED_BY_HAND,
                f"torchvision cannot fetch {name}: put it into data.root, and leave it out",
            ),
            ("val_share", is_own or name in how, f"{name} brings its own split; leave it out"),
            ("test_share", is_own or name in how, f"{name} brings its own split; leave it out"),
            ("cache", not has_files, f"belongs to image files, {name} has none; leave it out"),
            (
                "on_corrupt",
                not has_files,
                f"belongs to image files, {name} has none; leave it out",
            ),
        ):
            if is_idle and self.differs(key):
                yield key, text
