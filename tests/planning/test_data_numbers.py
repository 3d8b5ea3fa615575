"""Key `data`, decided: sizes, steps and statistics."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.planning.data_numbers import IMAGENET_MEAN, IMAGENET_STD
from orchestrator.planning.facts import DataSetFacts, Inputs
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.planning.section_plans import DataPlan

GREY_MEAN = (0.449,)
"""The mean of the three colours'."""
MakePlan = Callable[..., SearchPlan]


def decide(make_plan: MakePlan, **sections: Any) -> DataPlan:
    """The data of the first run."""
    return make_plan(**sections).runs[0].numbers.data


def test_the_size_is_the_data_sets_own_unless_asked_for(make_plan: MakePlan) -> None:
    """8 pixels for digits; then their size, then that of a sample, then 224."""
    facts = DataSetFacts(train_size=64, num_classes=2, channels=3, image_size=None)
    sample = DataSetFacts(
        train_size=64, num_classes=2, channels=3, image_size=None, sample_size=28
    )

    assert decide(make_plan).image_size == 8
    assert decide(make_plan, data={"image_size": 32}).image_size == 32
    assert decide(make_plan, inputs=Inputs(data=sample)).image_size == 28
    assert decide(make_plan, inputs=Inputs(data=facts)).image_size == 224


def test_images_of_the_right_size_are_not_touched(make_plan: MakePlan) -> None:
    """Without a transform there is no step; another size needs two."""
    untouched, resized = decide(make_plan), decide(make_plan, data={"image_size": 16})

    assert (untouched.train_transforms, untouched.eval_transforms) == ((), ())
    names = [step.name for step in resized.train_transforms]
    assert names == ["Resize", "CenterCrop"]
    assert resized.eval_transforms == resized.train_transforms


def test_a_list_of_transforms_is_taken_as_it_is(make_plan: MakePlan) -> None:
    """Names and arguments in their order; evaluation has its own list, or brings to size."""
    data = {
        "transforms": ["RandomHorizontalFlip", {"RandomCrop": {"size": 8, "padding": 1}}],
        "image_size": 8,
    }
    own = decide(make_plan, data=data)
    both = decide(make_plan, data={**data, "eval_transforms": [{"CenterCrop": {"size": 8}}]})

    assert [(step.name, step.arguments) for step in own.train_transforms] == [
        ("RandomHorizontalFlip", {}),
        ("RandomCrop", {"size": 8, "padding": 1}),
    ]
    assert own.eval_transforms == ()
    assert [step.name for step in both.eval_transforms] == ["CenterCrop"]


def test_a_callable_of_the_users_own_is_a_step(make_plan: MakePlan) -> None:
    """Alone, or among others."""
    alone = decide(make_plan, data={"transforms": "mine:flip"})
    listed = decide(make_plan, data={"transforms": [{"mine:flip": {"p": 1}}, "RandomInvert"]})

    assert [step.name for step in alone.train_transforms] == ["mine:flip"]
    assert [step.arguments for step in listed.train_transforms] == [{"p": 1}, {}]


@pytest.mark.parametrize(
    ("sections", "by", "mean"),
    [
        ({}, "none", ()),
        ({"data": {"transforms": "imagenet"}}, "given", GREY_MEAN),
        (
            {"data": {"transforms": "imagenet"}, "model": {"architecture": "resnet18"}},
            "given",
            IMAGENET_MEAN,
        ),
        ({"data": {"transforms": "light"}}, "none", ()),
        ({"data": {"normalize": "imagenet"}}, "given", GREY_MEAN),
        ({"data": {"normalize": "measured"}}, "measured", ()),
        ({"data": {"transforms": "imagenet", "normalize": "none"}}, "none", ()),
        ({"data": {"normalize": "given", "mean": [0.5], "std": [0.25]}}, "given", (0.5,)),
        (
            {"model": {"architecture": "resnet18", "weights": "DEFAULT"}},
            "given",
            IMAGENET_MEAN,
        ),
    ],
)
def test_statistics_follow_from_preset_and_weights(
    make_plan: MakePlan, sections: dict[str, Any], by: str, mean: tuple[float, ...]
) -> None:
    """ImageNet's where its weights or its preset are used, unless something else is said."""
    normalize = decide(make_plan, **sections).normalize

    assert (normalize.by, normalize.mean) == (by, mean)
    if mean == IMAGENET_MEAN:
        assert normalize.std == IMAGENET_STD


def test_kept_classes_are_counted(make_plan: MakePlan) -> None:
    """Digits 0 and 1 have 79 and 81 training images."""
    data = decide(make_plan, data={"classes": ["1", "0"]})

    assert (data.classes, data.num_classes, data.train_size) == (("1", "0"), 2, 160)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"classes": ["1", "ten"]}, "digits has no class 'ten'; it has '0' to '9'"),
        (
            {"dataset": "synthetic", "arguments": {"train_size": 1}},
            "must be a whole number of 2 at least (got 1)",
        ),
    ],
)
def test_what_a_data_set_does_not_have_is_refused(
    make_plan: MakePlan, data: dict[str, Any], message: str
) -> None:
    """Without a file being read."""
    with pytest.raises(SpecError) as caught:
        make_plan(data=data)

    assert str(caught.value).endswith(message)
