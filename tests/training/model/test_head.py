"""Which layers classify, in every family of torchvision, and the small head."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.build import BuiltModel
from orchestrator.training.model.head import find_head
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.meta import without_memory
from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.model.torchvision_models import build_torchvision

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

# Read from torchvision's source, family by family.
HEADS = {
    "alexnet": "classifier.6",
    "convnext": "classifier.2",
    "densenet": "classifier",
    "efficientnet": "classifier.1",
    "googlenet": "fc aux1.fc2 aux2.fc2",
    "inception": "fc AuxLogits.fc",
    "maxvit": "classifier.5",
    "mnasnet": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3": "classifier.3",
    "regnet": "fc",
    "resne": "fc",
    "shufflenet": "fc",
    "squeezenet": "classifier.1",
    "swin": "head",
    "vgg": "classifier.6",
    "vit": "heads.head",
    "wide_resnet": "fc",
}


def build_on_meta(architecture: str, **arguments: object) -> nn.Module:
    """A network of seven classes without memory, at a size that it takes."""
    interface = Interface(channels=3, image_size=224, num_classes=7)
    with without_memory():
        return build_torchvision(architecture, arguments, interface).to("meta")


@pytest.mark.parametrize("architecture", models.list_models(module=models))
def test_every_architecture_has_its_head_and_seven_scores(architecture: str) -> None:
    """The head is the family's, and each of its layers has one row or filter per class."""
    family = max((name for name in HEADS if architecture.startswith(name)), key=len)
    expected = {
        f"{layer}.{name}" for layer in HEADS[family].split() for name in ("weight", "bias")
    }
    model = build_on_meta(architecture)

    head = find_head(model, 7)

    # maxvit_t's last layer alone has no bias.
    names = {name for name, _ in model.named_parameters()}
    assert head == expected & names
    assert {f"{layer}.weight" for layer in HEADS[family].split()} <= head
    assert {model.get_parameter(name).shape[0] for name in head} == {7}
    assert find_head(model) == head


def test_heads_without_auxiliary_ones_have_one_layer() -> None:
    """What is switched off is no part of the head."""
    assert find_head(build_on_meta("googlenet", aux_logits=False)) == {"fc.weight", "fc.bias"}


def test_the_small_networks_head_is_its_linear_layer() -> None:
    """The one layer that is called so."""
    assert find_head(SmallCNN(channels=1, num_classes=10)) == {"head.weight", "head.bias"}


def test_a_network_that_tells_its_classifier_is_believed() -> None:
    """As timm's do, also where another layer was registered after it."""

    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.top = nn.Linear(4, 3)
            self.later = nn.Linear(8, 3)

        def get_classifier(self) -> nn.Module:
            return self.top

    assert find_head(Told()) == {"top.weight", "top.bias"}


def test_a_network_that_is_one_linear_layer_is_its_own_head() -> None:
    """Names without a layer's before them are names too."""
    assert find_head(nn.Linear(4, 3), 3) == {"weight", "bias"}


def test_a_head_that_cannot_be_told_is_refused() -> None:
    """No layer gives as many scores as there are classes."""
    message = (
        r"^model\.architecture: no linear or convolutional layer of Sequential gives 10 "
        r"scores, so its head cannot be told; name its parameters in fine_tune\.groups instead$"
    )

    with pytest.raises(TrainingError, match=message):
        find_head(nn.Sequential(nn.Linear(4, 3)), 10)


@pytest.mark.parametrize(
    ("architecture", "features", "saved"),
    [
        # Dense layers 25088·4096+4096 + 4096·4096+4096 + 4096·10+10, less 512·10+10.
        ("vgg11", 512, 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 - 512 * 10),
        ("alexnet", 256, 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 - 256 * 10),
        ("mobilenet_v3_small", 576, 576 * 1024 + 1024 + 1024 * 10 - 576 * 10),
    ],
)
def test_pooling_saves_the_fully_connected_layers(
    build: Callable[..., BuiltModel], architecture: str, features: int, saved: int
) -> None:
    """One linear layer on as many features as there are maps is left, and it classifies."""
    model = build(architecture, head="gap", image_size=64).model.eval()

    with without_memory():
        plain = models.get_model(architecture, weights=None, num_classes=10)
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in plain.parameters()) - count == saved
    assert model.get_parameter("classifier.weight").shape == (10, features)
    assert find_head(model) == {"classifier.weight", "classifier.bias"}
    images = torch.randn(2, 3, 64, 64)
    maps = model.get_submodule("features")(images)
    expected = model.get_submodule("classifier")(maps.mean(dim=(2, 3)))
    assert torch.allclose(model(images), expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ["resnet18", "small_cnn", "squeezenet1_1"])
def test_pooling_is_refused_where_it_is_done_already(
    build: Callable[..., BuiltModel], architecture: str
) -> None:
    """There is nothing to save."""
    message = (
        rf"^model\.head: {architecture} has no fully connected layers that global average "
        r"pooling could replace \(got gap\); use linear$"
    )

    with pytest.raises(TrainingError, match=message):
        build(architecture, head="gap")


def test_an_argument_of_the_layers_that_are_taken_away_is_refused(
    build: Callable[..., BuiltModel],
) -> None:
    """Dropout lies between the fully connected ones; it would be ignored."""
    message = r"^model\.arguments: dropout acts between the fully connected layers"

    with pytest.raises(TrainingError, match=message):
        build("vgg11", head="gap", arguments={"dropout": 0.3}, image_size=64)
