"""Key `data`, decided: sizes, classes, the steps that images go through."""

from typing import Final, Literal, cast

from orchestrator.planning.facts import DataSetFacts, synthetic_sizes
from orchestrator.planning.presets import Preset, expand_preset
from orchestrator.planning.section_plans import DataPlan, NormalizePlan, StepPlan
from orchestrator.specs.data_section import DataSpec
from orchestrator.specs.experiment import Keys
from orchestrator.specs.model_section import is_torchvision_weights
from orchestrator.specs.section import OWN_CODE
from orchestrator.specs.transforms import parse_steps

USUAL_SIZE: Final = 224
"""Pixels to which images of different sizes are brought, where nothing is asked for."""
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Statistics of ImageNet's training images in [0, 1]. Source: torchvision's documentation."""


def resolve_data(keys: Keys, facts: DataSetFacts) -> DataPlan:
    """Decide which images, changed how, in which batches."""
    data = keys.data
    channels = choose_channels(keys, facts)
    size = data.image_size or facts.image_size or facts.sample_size or USUAL_SIZE
    train, evaluation = _resolve_steps(data, size=size, native=facts.image_size)
    return DataPlan(
        dataset=data.dataset,
        arguments=synthetic_sizes(data.arguments)
        if data.dataset == "synthetic"
        else data.arguments,
        manifest=facts.manifest,
        classes=data.classes or (),
        num_classes=facts.num_classes,
        channels=channels,
        image_size=size,
        batch_size=data.batch_size,
        train_size=data.train_size or facts.train_size,
        label_noise=data.label_noise,
        drop_last=data.drop_last,
        val_share=data.val_share,
        test_share=data.test_share,
        sampler=data.sampler,
        repeated_augmentation=data.repeated_augmentation,
        train_transforms=train,
        eval_transforms=evaluation,
        normalize=_resolve_normalize(keys, channels),
        mixup=data.mixup,
        cutmix=data.cutmix,
        mix_off_epoch=data.mix_off_epoch if data.mixup or data.cutmix else None,
        on_corrupt=data.on_corrupt,
    )


def choose_cache(data: DataSpec) -> Literal["auto", "on", "off"]:
    """Whether decoded images are kept on the node's disk."""
    if data.cache == "auto":
        return "auto"
    return "on" if data.cache else "off"


def choose_channels(keys: Keys, facts: DataSetFacts) -> int:
    """Colour channels that the network is fed.

    Known networks take colour images, so that grey ones are repeated three times.
    """
    architecture = keys.model.architecture
    is_ours = architecture == "small_cnn" or OWN_CODE.fullmatch(architecture)
    return 3 if facts.channels == 1 and not is_ours else facts.channels


def _resolve_steps(
    data: DataSpec, *, size: int, native: int | None
) -> tuple[tuple[StepPlan, ...], tuple[StepPlan, ...]]:
    preset = data.transforms
    if isinstance(preset, str) and not OWN_CODE.fullmatch(preset):
        return expand_preset(
            cast(Preset, preset),
            image_size=size,
            auto_augment=data.auto_augment,
            random_erasing=data.random_erasing,
            native_size=native,
        )
    train = _steps([preset] if isinstance(preset, str) else preset)
    if data.eval_transforms is not None:
        return train, _steps(data.eval_transforms)
    return train, expand_preset("none", image_size=size, native_size=native)[1]


def _steps(written: list[object]) -> tuple[StepPlan, ...]:
    return tuple(
        StepPlan(name=name, arguments=arguments) for name, arguments in parse_steps(written)
    )


def _resolve_normalize(keys: Keys, channels: int) -> NormalizePlan:
    data = keys.data
    by = data.normalize
    if by is None:
        weights = keys.model.weights
        colours = data.transforms == "imagenet" or (
            weights is not None and is_torchvision_weights(weights)
        )
        by = "imagenet" if colours else "none"
    if by == "imagenet" and channels == 3:
        return NormalizePlan(by="given", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    if by == "imagenet":
        # Of grey, or of whatever else: the mean of the three colours'.
        mean, std = sum(IMAGENET_MEAN) / 3, sum(IMAGENET_STD) / 3
        return NormalizePlan(by="given", mean=(round(mean, 3),), std=(round(std, 3),))
    if by == "given":
        return NormalizePlan(by="given", mean=data.mean or (), std=data.std or ())
    return NormalizePlan(by=by, mean=(), std=())
