"""timm's networks; where timm is not installed, what is said of it."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.training.model.build import BuiltModel
from orchestrator.training.model.head import find_head

Build = Callable[..., BuiltModel]

with_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_a_missing_timm_is_one_clear_line(build: Build) -> None:
    """With the command that mends it."""
    message = (
        r"^model\.architecture: timm/resnet10t needs timm \(No module named 'timm'\); "
        r"pip install 'orchestrator\[timm\]'$"
    )

    with pytest.raises(TrainingError, match=message):
        build("timm/resnet10t")


@with_timm
@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("timm/resnet10t", {"fc.weight", "fc.bias"}),
        ("timm/vit_tiny_patch16_224", {"head.weight", "head.bias"}),
    ],
)
def test_networks_of_timm_take_any_channels_and_sizes(
    build: Build, architecture: str, head: set[str]
) -> None:
    """One channel, 64 pixels, seven scores, and the head that timm tells."""
    model = build(architecture, channels=1, image_size=64, num_classes=7).model.eval()

    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert find_head(model, 7) == head


@with_timm
def test_unknown_networks_and_arguments_of_timm_are_refused(build: Build) -> None:
    """By name, with the nearest."""
    with pytest.raises(
        TrainingError, match=r"timm has no 'resnet10x'; did you mean 'timm/resn"
    ):
        build("timm/resnet10x")
    with pytest.raises(TrainingError, match=r"^model\.arguments: timm/resnet10t refuses"):
        build("timm/resnet10t", arguments={"foo": 1})
    with pytest.raises(
        TrainingError, match=r"^model\.arguments: pretrained cannot be set here"
    ):
        build("timm/resnet10t", arguments={"pretrained": True})
