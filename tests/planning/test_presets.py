"""Presets: the steps that a word stands for, written out."""

import pytest

from orchestrator.planning.presets import AutoAugment, Steps, expand_preset


def spell(steps: Steps) -> list[tuple[str, dict[str, object]]]:
    """Names and arguments."""
    return [(step.name, dict(step.arguments)) for step in steps]


FIT = [("Resize", {"size": 32}), ("CenterCrop", {"size": 32})]


def test_none_does_nothing_to_images_of_the_right_size() -> None:
    """Neither in training nor in evaluation."""
    assert expand_preset("none", image_size=32, native_size=32) == ((), ())


@pytest.mark.parametrize("native", [28, None])
def test_none_brings_other_images_to_size(native: int | None) -> None:
    """The shorter side is resized and the middle cut out, of both parts alike."""
    train, evaluation = expand_preset("none", image_size=32, native_size=native)

    assert spell(train) == spell(evaluation) == FIT


def test_light_shifts_and_flips() -> None:
    """An eighth of the side is mirrored at the border, as 4 of 32 pixels are for CIFAR."""
    train, evaluation = expand_preset("light", image_size=32, native_size=32)

    assert spell(train) == [
        ("RandomCrop", {"size": 32, "padding": 4, "padding_mode": "reflect"}),
        ("RandomHorizontalFlip", {}),
    ]
    assert evaluation == ()


def test_light_resizes_first_where_it_has_to() -> None:
    """What is shifted has the final size."""
    train, evaluation = expand_preset("light", image_size=32, native_size=None)

    assert spell(train)[:2] == spell(evaluation) == FIT
    assert [name for name, _ in spell(train)[2:]] == ["RandomCrop", "RandomHorizontalFlip"]


def test_imagenet_is_scored_at_256_for_224() -> None:
    """The reference's own figures, and in proportion at other sizes."""
    train, evaluation = expand_preset("imagenet", image_size=224, native_size=None)

    assert spell(train) == [
        ("RandomResizedCrop", {"size": 224, "scale": [0.08, 1.0]}),
        ("RandomHorizontalFlip", {}),
        ("ColorJitter", {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}),
        ("RandomRotation", {"degrees": 10}),
    ]
    assert spell(evaluation) == [("Resize", {"size": 256}), ("CenterCrop", {"size": 224})]
    small = expand_preset("imagenet", image_size=112, native_size=None)[1]
    assert small[0].arguments == {"size": 128}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("randaugment", "RandAugment"),
        ("trivialaugment", "TrivialAugmentWide"),
        ("augmix", "AugMix"),
    ],
)
def test_automatic_augmentation_follows_crop_and_flip(word: AutoAugment, name: str) -> None:
    """In every preset, in training alone."""
    for preset in ("none", "light", "imagenet"):
        train, evaluation = expand_preset(
            preset, image_size=32, native_size=32, auto_augment=word
        )
        names = [step.name for step in train]
        assert names.index(name) == {"none": 0, "light": 2, "imagenet": 2}[preset]
        assert name not in [step.name for step in evaluation]


def test_erasing_comes_last() -> None:
    """After whatever else was asked for, with its probability."""
    train, evaluation = expand_preset(
        "imagenet", image_size=32, native_size=32, auto_augment="augmix", random_erasing=0.25
    )

    assert spell(train)[-1] == ("RandomErasing", {"p": 0.25})
    assert "RandomErasing" not in [step.name for step in evaluation]
