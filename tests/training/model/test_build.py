"""Key `model`: networks whose first weights depend on the seed alone."""

import pytest
import torch
from torch import nn

from orchestrator.training.model.build import SmallCNN, build_model, head_parameters
from orchestrator.training.param_groups import build_param_groups

CPU = torch.device("cpu")


def build(architecture: str, seed: int) -> nn.Module:
    """A network of ten classes on the CPU."""
    channels = 1 if architecture == "small_cnn" else 3
    return build_model(architecture, channels=channels, num_classes=10, seed=seed, device=CPU)


def flat_weights(model: nn.Module) -> torch.Tensor:
    """All parameters in one vector."""
    return nn.utils.parameters_to_vector(model.parameters())


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18"])
def test_first_weights_depend_on_the_seed_alone(architecture: str) -> None:
    """What was drawn before does not matter; another seed gives other weights."""
    first = flat_weights(build(architecture, seed=1))
    torch.rand(1000)
    second = flat_weights(build(architecture, seed=1))

    assert torch.equal(first, second)
    assert not torch.equal(first, flat_weights(build(architecture, seed=2)))


@pytest.mark.parametrize(
    ("architecture", "names"),
    [("small_cnn", {"head.weight", "head.bias"}), ("resnet18", {"fc.weight", "fc.bias"})],
)
def test_the_head_is_the_final_linear_layer(architecture: str, names: set[str]) -> None:
    """Its weight has one row per class."""
    model = build(architecture, seed=0)

    assert head_parameters(model) == names
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    assert {shapes[name][0] for name in names} == {10}


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


def test_equal_rates_make_one_group_in_the_models_order() -> None:
    """As a hand-written loop would have it: one group of all parameters."""
    model = SmallCNN(channels=1, num_classes=10)

    (group,) = build_param_groups(model, backbone_lr=0.1, head_lr=0.1)

    assert (group["name"], group["lr"]) == ("all", 0.1)
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_unequal_rates_put_every_parameter_into_one_of_two_groups() -> None:
    """The head's two parameters get the head's rate, all others the backbone's."""
    model = SmallCNN(channels=1, num_classes=10)

    backbone, head = build_param_groups(model, backbone_lr=0.01, head_lr=0.5)

    assert (backbone["name"], backbone["lr"]) == ("backbone", 0.01)
    assert (head["name"], head["lr"]) == ("head", 0.5)
    assert [id(p) for p in head["params"]] == [id(model.head.weight), id(model.head.bias)]
    assert [id(p) for p in (*backbone["params"], *head["params"])] == [
        id(p) for p in model.parameters()
    ]
