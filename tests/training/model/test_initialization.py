"""Weights before training, told by what they are: their spread, ones, and exact zeros."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import TensorRulePlan
from orchestrator.training.model.build import BuiltModel
from orchestrator.training.model.initialization import apply_rules, initialize_model
from orchestrator.training.model.small_cnn import SmallCNN

Build = Callable[..., BuiltModel]
SaveTensors = Callable[..., str]


def initialize(model: nn.Module, how: str) -> nn.Module:
    """Initialise from a generator of its own."""
    initialize_model(model, how, architecture="net", generator=torch.Generator().manual_seed(1))
    return model


def test_kaiming_has_the_papers_spread() -> None:
    """Normal with variance 2/fan_out, 64·9/2 with two groups; linear uniform to sqrt(6/sum)."""
    convolution = nn.Conv2d(32, 64, 3)
    grouped = nn.Conv2d(64, 64, 3, groups=2)
    linear = nn.Linear(300, 100)

    initialize(nn.Sequential(convolution, grouped, linear), "kaiming")

    assert convolution.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert convolution.weight.mean().item() == pytest.approx(0.0, abs=0.001)
    # torch counts fan_out as if there were one group.
    assert grouped.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    bound = (6 / (300 + 100)) ** 0.5
    assert linear.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert linear.weight.abs().max().item() <= bound
    assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_kaiming_sets_normalisation_to_one_and_biases_to_zero() -> None:
    """Exactly, in every kind of layer that has them."""
    norms: list[nn.Module] = [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4)]
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(3, 4), *norms, nn.BatchNorm2d(4, affine=False)]
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)

    initialize(model, "kaiming")

    assert all((norm.get_parameter("weight") == 1).all() for norm in norms)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert len(biases) == 5
    assert all((bias == 0).all() for bias in biases)


def test_kaiming_depends_on_its_generator_alone() -> None:
    """What the builder drew before, or how much, does not matter."""
    first = initialize(SmallCNN(channels=1, num_classes=3), "kaiming")
    second = initialize(SmallCNN(channels=1, num_classes=3), "kaiming")

    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("architecture", "branches"),
    [
        # Blocks: 2·4; 3+4+6+3; a block with a shortcut of equal shapes each in the others.
        ("resnet18", 8),
        ("resnet50", 16),
        ("regnet_x_400mf", 1 + 2 + 7 + 12),
        ("mobilenet_v2", 1 + 2 + 3 + 2 + 2),
        ("mobilenet_v3_small", 1 + 2 + 1 + 2),
        ("efficientnet_b0", 1 + 1 + 2 + 2 + 3),
        ("mnasnet0_5", 2 + 2 + 2 + 1 + 3),
    ],
)
def test_each_residual_branch_begins_at_zero(
    build: Build, architecture: str, branches: int
) -> None:
    """Its last normalisation is exactly 0, and all other weights are the default's."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    zeroed = build(architecture, initialization="zero_last_bn", seed=3).model
    default = build(architecture, seed=3).model

    changed = [
        value
        for (_, value), plain in zip(
            zeroed.named_parameters(), default.parameters(), strict=True
        )
        if not torch.equal(value, plain)
    ]
    assert len(changed) == branches
    assert all((value == 0).all() for value in changed)
    assert all(value.ndim == 1 for value in changed)


def test_blocks_with_zeroed_branches_are_their_shortcuts(build: Build) -> None:
    """A block of ResNet-18 whose shapes are equal gives what it takes, cut off below 0."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    block = build("resnet18", initialization="zero_last_bn").model.get_submodule("layer1.1")
    images = torch.randn(2, 64, 8, 8)

    assert torch.equal(block(images), images.relu())


@pytest.mark.parametrize("architecture", ["small_cnn", "shufflenet_v2_x0_5", "convnext_tiny"])
def test_networks_without_such_branches_are_refused(build: Build, architecture: str) -> None:
    """Nothing would be another word for default."""
    message = (
        rf"^model\.initialization: {architecture} has no residual branch that is known to end "
        r"in batch normalisation \(got zero_last_bn\); use default or kaiming$"
    )

    with pytest.raises(TrainingError, match=message):
        build(architecture, initialization="zero_last_bn")


@pytest.fixture
def save_tensors(tmp_path: Path) -> SaveTensors:
    """Writes a safetensors file of tensors given by keyword; returns its path."""
    safetensors = pytest.importorskip(
        "safetensors.torch", reason="safetensors is not installed"
    )

    def save(**tensors: torch.Tensor) -> str:
        path = str(tmp_path / "tensors.safetensors")
        safetensors.save_file(tensors, path)
        return path

    return save


def rule(match: str, file: str, key: str = "filters", sha256: str = "") -> TensorRulePlan:
    """A rule of the plan."""
    return TensorRulePlan(match=match, file=file, key=key, sha256=sha256)


def test_rules_set_what_they_match_and_nothing_else(save_tensors: SaveTensors) -> None:
    """Every parameter whose name the expression is found in has the tensor's values."""
    ramp = torch.arange(32.0)
    file = save_tensors(filters=ramp)
    model = SmallCNN(channels=1, num_classes=3)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    apply_rules(model, [rule(r"features\.[48]\.bias$", file)])

    for name, value in model.named_parameters():
        expected = ramp if name in {"features.4.bias", "features.8.bias"} else before[name]
        assert torch.equal(value, expected)


def test_the_last_of_two_rules_holds(save_tensors: SaveTensors) -> None:
    """They are applied one after the other."""
    file = save_tensors(first=torch.ones(32), second=torch.full((32,), 2.0))
    model = SmallCNN(channels=1, num_classes=3)

    apply_rules(model, [rule(r"4\.bias", file, "first"), rule(r"4\.b", file, "second")])

    assert torch.equal(model.get_parameter("features.4.bias"), torch.full((32,), 2.0))


@pytest.mark.parametrize(
    ("match", "key", "message"),
    [
        (
            "backbone",
            "filters",
            "model.rules.0.match: no parameter's name matches 'backbone'; there are "
            "'features.0.weight', 'features.1.weight', 'features.1.bias', 'features.3.weight', "
            "'features.4.weight', 'features.4.bias', 'features.7.weight', 'features.8.weight', "
            "'features.8.bias', 'head.weight' and 1 more",
        ),
        (
            "[",
            "filters",
            "model.rules.0.match: '[' is no regular expression (unterminated character set at "
            "position 0)",
        ),
        ("head", "gabor", "model.rules.0: {file} has no 'gabor'; it has 'filters', 'other'"),
        (
            "head.weight",
            "filters",
            "model.rules.0: head.weight has shape (3, 32), and its tensor (32,)",
        ),
    ],
)
def test_rules_that_do_nothing_or_do_not_fit_are_refused(
    save_tensors: SaveTensors, match: str, key: str, message: str
) -> None:
    """With what there is instead."""
    file = save_tensors(filters=torch.ones(32), other=torch.ones(1))

    expected = re.escape(message.replace("{file}", file))
    with pytest.raises(TrainingError, match=f"^{expected}$"):
        apply_rules(SmallCNN(channels=1, num_classes=3), [rule(match, file, key)])
