"""What the words `none`, `light` and `imagenet` of key `data.transforms` stand for.

A preset is spelled out into torchvision's own steps before anything runs, so that a plan and
its record say what happened to an image without this file at hand. Standard library alone.
"""

from typing import Any, Final, Literal

from orchestrator.planning.section_plans import StepPlan

Preset = Literal["none", "light", "imagenet"]
AutoAugment = Literal["none", "randaugment", "trivialaugment", "augmix"]
Steps = tuple[StepPlan, ...]

_AUTO_AUGMENT: Final = {
    "randaugment": "RandAugment",
    "trivialaugment": "TrivialAugmentWide",
    "augmix": "AugMix",
}


def expand_preset(
    name: Preset,
    *,
    image_size: int,
    auto_augment: AutoAugment = "none",
    random_erasing: float = 0.0,
    native_size: int | None,
) -> tuple[Steps, Steps]:
    """The steps of training and of evaluation that a preset stands for.

    `imagenet` is the crop and flip of torchvision's classification reference with jitter of
    colours and a small rotation; `light` is the shifted crop and flip of He et al. 2016,
    section 4.2 (arXiv:1512.03385), its border mirrored.

    Args:
        name: The preset.
        image_size: Height and width that the network is fed, in pixels.
        auto_augment: What is added after the steps that move pixels.
        random_erasing: Probability with which a rectangle is erased, at the very end.
        native_size: Height and width of all images, in pixels; None where they differ.

    Returns:
        Steps for training images and steps for validation and test images.
    """
    fit = () if native_size == image_size else _fit(image_size)
    train, evaluation = fit, fit
    if name == "light":
        train += (
            _step(
                "RandomCrop", size=image_size, padding=image_size // 8, padding_mode="reflect"
            ),
            _step("RandomHorizontalFlip"),
        )
    if name == "imagenet":
        train = (
            _step("RandomResizedCrop", size=image_size, scale=[0.08, 1.0]),
            _step("RandomHorizontalFlip"),
        )
        evaluation = _fit(image_size, resized=image_size * 256 // 224)
    if auto_augment != "none":
        train += (_step(_AUTO_AUGMENT[auto_augment]),)
    if name == "imagenet":
        train += (
            _step("ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4),
            _step("RandomRotation", degrees=10),
        )
    if random_erasing > 0:
        train += (_step("RandomErasing", p=random_erasing),)
    return train, evaluation


def _fit(image_size: int, *, resized: int | None = None) -> Steps:
    """Bring the shorter side to a size and cut the middle out: nothing is squeezed."""
    return (
        _step("Resize", size=resized or image_size),
        _step("CenterCrop", size=image_size),
    )


def _step(name: str, **arguments: Any) -> StepPlan:  # noqa: ANN401  plain JSON values
    return StepPlan(name=name, arguments=arguments)
