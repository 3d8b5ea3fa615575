"""Every family of torchvision, for images of any colour and of the sizes that it can take."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import ModelPlan
from orchestrator.training.model.build import BuiltModel, describe_on_meta
from orchestrator.training.model.first_convolution import find_first_convolution
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.meta import meta_images
from orchestrator.training.model.outputs import read_outputs

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

Build = Callable[..., BuiltModel]

# One of each family, the smallest, at a size that it takes.
FAMILIES = {
    "alexnet": 63,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_v2_s": 32,
    "googlenet": 32,
    "inception_v3": 299,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "swin_v2_t": 32,
    "vgg11_bn": 32,
    "vit_b_32": 64,
    "wide_resnet50_2": 32,
}


def test_every_family_is_tried() -> None:
    """A family that torchvision adds is to be added here."""
    tried = {models.get_model_builder(name).__module__ for name in FAMILIES}

    names = models.list_models(module=models)
    assert {models.get_model_builder(name).__module__ for name in names} == tried


@pytest.mark.parametrize(("architecture", "size"), FAMILIES.items())
def test_every_family_takes_any_channels_and_gives_a_score_per_class(
    make_plan: Callable[..., ModelPlan],
    place: Place,
    architecture: str,
    size: int,
) -> None:
    """The first convolution has the images' channels; in training, each head has 7 scores."""
    channels = 5
    model = describe_on_meta(
        make_plan(architecture),
        interface=Interface(channels=channels, image_size=size, num_classes=7),
        place=place,
    )

    first = find_first_convolution(model)
    assert first is not None
    assert first[1].in_channels == channels
    logits, auxiliary = read_outputs(model.train()(meta_images(channels, size)), model)
    assert logits.shape == (2, 7)
    weights = {"googlenet": [0.3, 0.3], "inception_v3": [0.4]}.get(architecture, [])
    assert [weight for weight, _ in auxiliary] == weights
    assert all(scores.shape == (2, 7) for _, scores in auxiliary)


@pytest.mark.parametrize(
    ("architecture", "size", "channels"),
    [
        ("resnet18", 8, 1),
        ("googlenet", 32, 3),
        ("shufflenet_v2_x0_5", 32, 5),
        ("vit_b_32", 32, 1),
    ],
)
def test_real_networks_score_real_images(
    build: Build, architecture: str, size: int, channels: int
) -> None:
    """With weights and pixels, in evaluation."""
    model = build(architecture, image_size=size, channels=channels, num_classes=7).model.eval()

    with torch.no_grad():
        logits, auxiliary = read_outputs(model(torch.randn(2, channels, size, size)), model)

    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    assert auxiliary == ()


@pytest.mark.parametrize(
    ("architecture", "channels", "expected"),
    [
        # Normal with variance 2/fan_out, 64·7·7, whatever the channels.
        ("resnet18", 1, (2 / (64 * 49)) ** 0.5),
        ("resnet18", 6, (2 / (64 * 49)) ** 0.5),
        # Normal with variance 2/fan_in, channels·7·7.
        ("densenet121", 1, (2 / 49) ** 0.5),
        # Truncated normal with standard deviation sqrt(1/fan_in), channels·32·32.
        ("vit_b_32", 1, 1 / 32),
        # torch's default: uniform within 1/sqrt(fan_in), channels·11·11.
        ("alexnet", 2, (1 / (2 * 121) / 3) ** 0.5),
    ],
)
def test_the_exchanged_convolution_is_initialised_as_its_family_does_it(
    build: Build, architecture: str, channels: int, expected: float
) -> None:
    """Its spread follows from the new number of channels, where the family's does."""
    model = build(architecture, channels=channels, image_size=64).model

    first = find_first_convolution(model)
    assert first is not None
    assert first[1].weight.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("architecture", "size", "arguments", "message"),
    [
        ("alexnet", 8, {}, "alexnet needs at least 63 pixels (got 8)"),
        ("vgg11", 20, {}, "vgg11 needs at least 32 pixels (got 20)"),
        (
            "inception_v3",
            70,
            {"aux_logits": False},
            "inception_v3 needs at least 75 pixels (got 70)",
        ),
        (
            "inception_v3",
            290,
            {},
            "inception_v3 needs at least 299 pixels (got 290); or set "
            "model.arguments.aux_logits: false",
        ),
        (
            "vit_b_16",
            30,
            {},
            "vit_b_16 cannot take 30 pixels; the next size that it takes is 32",
        ),
        ("small_cnn", 1, {}, "small_cnn needs at least 2 pixels (got 1)"),
    ],
)
def test_images_that_are_too_small_are_refused_with_the_size_that_is_not(
    build: Build, architecture: str, size: int, arguments: dict[str, object], message: str
) -> None:
    """The size is found by trying."""
    with pytest.raises(TrainingError, match=f"^{re.escape(f'data.image_size: {message}')}$"):
        build(architecture, image_size=size, arguments=arguments)


@pytest.mark.parametrize(
    ("architecture", "arguments", "message"),
    [
        ("resnet18", {"foo": 1}, "resnet18 takes no 'foo'"),
        ("resnet18", {"weihgts": 1}, "resnet18 takes no 'weihgts'"),
        # torchvision itself would ignore it.
        (
            "mobilenet_v3_small",
            {"width_multi": 2},
            "mobilenet_v3_small takes no 'width_multi'; did you mean 'width_mult'?",
        ),
        (
            "resnet18",
            {"num_classes": 3},
            "num_classes cannot be set here; it follows from data",
        ),
        ("vit_b_16", {"image_size": 3}, "image_size cannot be set here; it is data.image_size"),
        ("resnet18", {"weights": "DEFAULT"}, "weights cannot be set here; set model.weights"),
        (
            "resnet18",
            {"width_per_group": 32},
            'resnet18 refuses {"width_per_group": 32} (ValueError: BasicBlock only supports '
            "groups=1 and base_width=64)",
        ),
    ],
)
def test_wrong_arguments_are_refused(
    build: Build, architecture: str, arguments: dict[str, object], message: str
) -> None:
    """By name, and where the name is right by what the builder says."""
    with pytest.raises(TrainingError, match=f"^{re.escape(f'model.arguments: {message}')}$"):
        build(architecture, arguments=arguments)


def test_arguments_reach_the_builder(build: Build) -> None:
    """A narrower network has fewer parameters, and dropout is where it was asked for."""
    model = build("mobilenet_v3_small", arguments={"width_mult": 0.5, "dropout": 0.7}).model

    plain = models.mobilenet_v3_small(num_classes=10)
    assert sum(p.numel() for p in model.parameters()) < sum(
        p.numel() for p in plain.parameters()
    )
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.7]


def test_an_unknown_architecture_is_named_with_its_neighbour(build: Build) -> None:
    """A slip of the finger is mended by the message."""
    message = r"^model\.architecture: torchvision has no 'resnet19'; did you mean 'resnet18'\?$"

    with pytest.raises(TrainingError, match=message):
        build("resnet19")


def test_googlenet_and_inception_warn_of_nothing(
    build: Build, recwarn: pytest.WarningsRecorder
) -> None:
    """What torchvision will change one day is said explicitly."""
    build("googlenet")

    assert [str(warning.message) for warning in recwarn] == []


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, channels, image_size, width=4):
        super().__init__()
        assert torch.zeros(1).item() == 0.0
        self.top = nn.Linear(channels * image_size**2, num_classes)
        self.width = width
    def forward(self, images):
        return self.top(images.flatten(1))

def lazy(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

def wrong(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes + 1))

def number(num_classes):
    return 3

def pair(num_classes):
    class Pair(nn.Module):
        def forward(self, images):
            return images, images
    return Pair()
"""


@pytest.fixture
def own(place: Place) -> str:
    """A module of the user's; its name is the folder's, since Python keeps modules by name."""
    name = f"own_{abs(hash(place.sources))}"
    (Path(place.sources) / f"{name}.py").write_text(OWN)
    return name


def test_own_networks_are_given_what_they_name(build: Build, own: str) -> None:
    """Channels, size and classes from the data, the rest from the arguments."""
    model = build(f"{own}:Net", channels=2, image_size=6, arguments={"width": 9}).model

    assert model.get_parameter("top.weight").shape == (10, 2 * 36)
    assert model.width == 9


def test_own_networks_may_be_lazy(build: Build, own: str) -> None:
    """The trial gives lazy layers their shapes, from the run's own stream."""
    first, second = (build(f"{own}:lazy", seed=4).model for _ in range(2))

    assert first.get_parameter("1.weight").shape == (10, 3 * 32 * 32)
    assert torch.equal(first.get_parameter("1.weight"), second.get_parameter("1.weight"))


def test_own_networks_that_need_values_are_described_too(
    make_plan: Callable[..., ModelPlan], place: Place, own: str
) -> None:
    """What cannot be built without memory is built with it, and then described without."""
    model = describe_on_meta(
        make_plan(f"{own}:Net"),
        interface=Interface(channels=1, image_size=4, num_classes=3),
        place=place,
    )

    assert model.get_parameter("top.weight").shape == (3, 16)
    assert model.get_parameter("top.weight").device.type == "meta"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "wrong",
            {},
            "model.architecture: {own}:wrong gave torch.float32 of shape (2, 11) for images "
            "of shape (2, 3, 32, 32); return one float tensor of shape (2, 10)",
        ),
        (
            "number",
            {},
            "model.architecture: {own}:number returned a int; return a torch.nn.Module",
        ),
        (
            "pair",
            {},
            "model.architecture: {own}:pair gave a tuple for images of shape (2, 3, 32, 32); "
            "return one float tensor of shape (2, 10)",
        ),
        (
            "lazy",
            {"deep": 3},
            "model.arguments: {own}:lazy cannot be called with num_classes, deep (TypeError: "
            "lazy() got an unexpected keyword argument 'deep')",
        ),
        (
            "Net",
            {"channels": 3},
            "model.arguments: channels cannot be set here; it follows from data",
        ),
        ("Nat", {}, "model.architecture: {own} has no 'Nat'; did you mean 'Net'?"),
    ],
)
def test_own_networks_that_do_not_fit_are_refused(
    build: Build, own: str, name: str, arguments: dict[str, object], message: str
) -> None:
    """With both shapes, where shapes are at fault."""
    expected = re.escape(message.replace("{own}", own))

    with pytest.raises(TrainingError, match=f"^{expected}$"):
        build(f"{own}:{name}", arguments=arguments)
