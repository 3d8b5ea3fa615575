"""Key `model`: networks whose first weights depend on the seed alone."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import ModelPlan, TensorRulePlan, WeightsPlan
from orchestrator.training import streams
from orchestrator.training.model.build import BuiltModel, describe_on_meta
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.small_cnn import SmallCNN

Build = Callable[..., BuiltModel]


def flat_weights(model: nn.Module) -> torch.Tensor:
    """All parameters in one vector."""
    return nn.utils.parameters_to_vector(model.parameters())


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18"])
def test_first_weights_depend_on_the_seed_alone(build: Build, architecture: str) -> None:
    """What was drawn before does not matter; another seed gives other weights."""
    first = flat_weights(build(architecture, seed=1).model)
    torch.rand(1000)
    second = flat_weights(build(architecture, seed=1).model)

    assert torch.equal(first, second)
    assert not torch.equal(first, flat_weights(build(architecture, seed=2).model))


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18", "squeezenet1_1"])
def test_first_weights_are_those_of_the_builder_right_after_seeding(
    build: Build, architecture: str
) -> None:
    """Neither the trial of the image's size nor what surrounds the builder draws a number."""
    model = build(architecture, seed=5).model

    streams.seed_global_generators(5, streams.INITIALIZATION)
    if architecture == "small_cnn":
        expected: nn.Module = SmallCNN(channels=3, num_classes=10)
    else:
        models = pytest.importorskip("torchvision").models
        expected = models.get_model(architecture, weights=None, num_classes=10)
    tensors, expected_tensors = model.state_dict(), expected.state_dict()
    assert list(tensors) == list(expected_tensors)
    assert all(torch.equal(tensors[name], expected_tensors[name]) for name in tensors)


@pytest.mark.parametrize("size", [8, 9, 64])
def test_the_small_network_takes_images_of_many_sizes(size: int) -> None:
    """Any image of 8 to 64 pixels gives one score per class."""
    scores = SmallCNN(channels=3, num_classes=7)(torch.zeros(2, 3, size, size))

    assert scores.shape == (2, 7)


def test_the_small_network_has_as_many_weights_as_its_layers() -> None:
    """Convolutions 9·(1·16 + 16·32 + 32·32), two per normalised channel, and a 32x10 head."""
    expected = 9 * (1 * 16 + 16 * 32 + 32 * 32) + 2 * (16 + 32 + 32) + (32 * 10 + 10)

    count = sum(p.numel() for p in SmallCNN(channels=1, num_classes=10).parameters())

    assert count == expected


def test_channels_last_changes_the_layout_and_no_number(build: Build) -> None:
    """The weights are the same; the first convolution's lie pixel by pixel."""
    plain = build(seed=1).model
    last = build(seed=1, channels_last=True).model

    weight = last.get_parameter("features.3.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    pairs = zip(plain.parameters(), last.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18", "regnet_x_400mf"])
def test_a_description_is_the_network_without_memory(
    build: Build, make_plan: Callable[..., ModelPlan], place: Place, architecture: str
) -> None:
    """Names, shapes and layers agree with what is trained, and nothing is drawn."""
    before = torch.get_rng_state()
    described = describe_on_meta(
        make_plan(architecture),
        interface=Interface(channels=3, image_size=32, num_classes=10),
        place=place,
    )
    assert torch.equal(torch.get_rng_state(), before)

    model = build(architecture).model
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in described.state_dict().items()} == shapes
    assert {value.device.type for value in described.state_dict().values()} == {"meta"}
    types = [type(layer) for layer in model.modules()]
    assert [type(layer) for layer in described.modules()] == types


def test_initialisation_comes_first_then_weights_then_rules(
    build: Build, tmp_path: Path
) -> None:
    """Each leaves what the next does not touch: ones, then threes, then sevens."""
    safetensors = pytest.importorskip(
        "safetensors.torch", reason="safetensors is not installed"
    )
    rule_file, weights_file = tmp_path / "rule.safetensors", tmp_path / "weights.pth"
    safetensors.save_file({"seven": torch.full((16,), 7.0)}, str(rule_file))
    threes = torch.full((16,), 3.0)
    torch.save({"features.1.weight": threes, "features.1.bias": threes}, weights_file)

    built = build(
        initialization="kaiming",
        weights=WeightsPlan(source="threes", sha256="", strict=False, min_loaded=0.0),
        weights_file=str(weights_file),
        rules=(
            TensorRulePlan(
                match=r"features\.1\.bias", file=str(rule_file), key="seven", sha256=""
            ),
        ),
    )

    parameters = dict(built.model.named_parameters())
    assert torch.equal(parameters["features.1.bias"], torch.full((16,), 7.0))
    assert torch.equal(parameters["features.1.weight"], threes)
    assert torch.equal(parameters["features.4.weight"], torch.ones(32))
    assert torch.equal(parameters["head.bias"], torch.zeros(10))
    assert built.load_report is not None
    assert built.load_report.matched == ("features.1.weight", "features.1.bias")


def test_the_small_network_has_no_arguments(build: Build) -> None:
    """A key that is ignored would be a bug."""
    with pytest.raises(
        TrainingError, match=r"^model\.arguments: small_cnn takes none \(got width\)$"
    ):
        build(arguments={"width": 2})


def test_the_small_network_needs_neither_torchvision_nor_safetensors(
    child_environment: Mapping[str, str],
) -> None:
    """A bare PyTorch machine builds it, and imports nothing that it does not need."""
    code = (
        "import sys, torch; from orchestrator.planning.run_plan import Place\n"
        "from orchestrator.planning.section_plans import ModelPlan\n"
        "from orchestrator.training.model.build import build_model\n"
        "from orchestrator.training.model.interface import Interface\n"
        "plan = ModelPlan(architecture='small_cnn', arguments={}, head='linear',\n"
        "    weights=None, initialization='default', rules=(), sync_batch_norm=False,\n"
        "    channels_last=False)\n"
        "build_model(plan, interface=Interface(channels=1, image_size=8, num_classes=2),\n"
        "    classes=(), seed=0, device=torch.device('cpu'),\n"
        "    place=Place(folder='', loader_workers=0))\n"
        "print([name for name in ('torchvision', 'safetensors', 'PIL') if name in sys.modules])"
    )

    said = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == "[]\n"


def test_a_missing_torchvision_is_one_clear_line(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that mends it."""
    monkeypatch.setitem(sys.modules, "torchvision", None)

    message = (
        r"^model\.architecture: resnet18 needs torchvision \(.*\); "
        r"pip install 'orchestrator\[vision\]', or use small_cnn$"
    )
    with pytest.raises(TrainingError, match=message):
        build("resnet18")
