"""Made-up images: any number, the same ones every time, learnable."""

from collections.abc import Callable

import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.build import build_data
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.data.synthetic import load_synthetic

MakePlan = Callable[..., DataPlan]
MakePlace = Callable[..., Place]
SMALL = {"train_size": 60, "val_size": 30, "num_classes": 3, "channels": 1, "image_size": 12}


@pytest.fixture
def build(make_plan: MakePlan, make_place: MakePlace) -> Callable[..., ImageSet]:
    """One part of a set of the arguments given."""

    def make(part: str = "train", fed: int = 1, **arguments: int) -> ImageSet:
        plan = make_plan(dataset="synthetic", arguments=arguments, channels=fed)
        return build_data(plan, make_place(), seed=0, parts=(part,)).parts[part]

    return make


def test_images_have_the_size_asked_for(build: Callable[..., ImageSet]) -> None:
    """Bytes, of the channels and pixels asked for, classes in turn."""
    images = build(**SMALL)

    assert images.images.shape == (60, 1, 12, 12)
    assert images.images.dtype == torch.uint8
    assert images.labels.tolist() == [0, 1, 2] * 20
    assert build(fed=3, **SMALL).images.shape == (60, 3, 12, 12)


def test_an_image_is_of_its_number_alone(build: Callable[..., ImageSet]) -> None:
    """Read again, read first, or out of a larger set."""
    once, larger = build(**SMALL), build(**{**SMALL, "train_size": 90})
    torch.rand(3)

    assert torch.equal(once.images, larger.images[:60])
    assert torch.equal(once.pixels.read(7), once.images[7])
    assert len(once.images.unique(dim=0)) == 60


def test_parts_share_no_image(build: Callable[..., ImageSet]) -> None:
    """Neither numbers nor pixels."""
    parts = [build(part, **SMALL) for part in ("train", "val", "test")]

    ids = torch.cat([part.ids for part in parts])
    assert ids.tolist() == list(range(120))
    assert len(torch.cat([part.images for part in parts]).unique(dim=0)) == 120


def test_classes_can_be_told_apart(build: Callable[..., ImageSet]) -> None:
    """The nearest of the training images' class means is right for every validation image."""
    train, val = build("train", **SMALL), build("val", **SMALL)
    means = torch.stack(
        [train.images[train.labels == label].double().mean(dim=0) for label in range(3)]
    )

    distances = (val.images[:, None].double() - means).pow(2).sum(dim=(2, 3, 4))

    assert torch.equal(distances.argmin(dim=1), val.labels)


def test_a_million_images_take_no_time(build: Callable[..., ImageSet]) -> None:
    """None of them is made before it is read."""
    images = build(train_size=1_000_000, num_classes=1000, image_size=224, fed=3)

    assert len(images) == 1_000_000
    assert images.pixels.read(999_999).shape == (3, 224, 224)
    assert images.pixels.describe(5) == "synthetic image 5"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"size": 4},
            "data.arguments.size: no such argument; there are train_size, val_size, "
            "num_classes, channels, image_size",
        ),
        (
            {"train_size": 0},
            "data.arguments.train_size: must be a whole number above 0 (got 0)",
        ),
        (
            {"channels": "3"},
            "data.arguments.channels: must be a whole number above 0 (got '3')",
        ),
        (
            {"channels": True},
            "data.arguments.channels: must be a whole number above 0 (got True)",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], line: str) -> None:
    """By name."""
    with pytest.raises(TrainingError) as caught:
        load_synthetic(("train",), arguments, channels=3)

    assert str(caught.value) == line
