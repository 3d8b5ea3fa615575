"""Parameters, shapes and multiply-adds, against published and hand-made counts."""

import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import ModelPlan
from orchestrator.training.model.build import describe_on_meta
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.model.summary import ModelSummary, summarize_model

Summarize = Callable[[str], ModelSummary]


@pytest.fixture
def summarize(make_plan: Callable[..., ModelPlan], place: Place) -> Summarize:
    """Summarises one of torchvision's networks for ImageNet."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")

    def of(architecture: str) -> ModelSummary:
        interface = Interface(channels=3, image_size=224, num_classes=1000)
        model = describe_on_meta(make_plan(architecture), interface=interface, place=place)
        return summarize_model(model, 3, 224)

    return of


@pytest.mark.parametrize(
    ("architecture", "billions"),
    # `_ops` of torchvision's weights: billions of multiply-adds at 224 pixels.
    [
        ("resnet18", 1.814),
        ("resnet50", 4.089),
        ("resnext50_32x4d", 4.23),
        ("mobilenet_v2", 0.301),
        ("vit_b_16", 17.564),
        ("swin_t", 4.491),
        ("googlenet", 1.498),
    ],
)
def test_counts_are_those_that_torchvision_publishes(
    summarize: Summarize, architecture: str, billions: float
) -> None:
    """Grouped convolutions and attention included; rows add up to the totals."""
    from torchvision.models import get_model_weights

    summary = summarize(architecture)

    published = get_model_weights(architecture)["IMAGENET1K_V1"].meta
    assert summary.multiply_adds / 1e9 == pytest.approx(billions, abs=0.0006)
    assert published["_ops"] == pytest.approx(billions, abs=0.0006)
    if architecture != "googlenet":  # its published count leaves out the auxiliary heads
        assert summary.parameters == published["num_params"]
    assert sum(row.parameters for row in summary.layers) == summary.parameters
    assert sum(row.multiply_adds for row in summary.layers) == summary.multiply_adds


def test_each_layer_of_the_small_network_is_counted_by_hand() -> None:
    """9·inputs·outputs per pixel of a convolution, 64 before the pooling and 16 after."""
    model = SmallCNN(channels=1, num_classes=10)
    model.get_parameter("head.bias").requires_grad_(False)

    summary = summarize_model(model, 1, 8)

    macs = {row.name: row.multiply_adds for row in summary.layers if row.multiply_adds}
    assert macs == {
        "features.0": 9 * 1 * 16 * 64,
        "features.3": 9 * 16 * 32 * 64,
        "features.7": 9 * 32 * 32 * 16,
        "head": 32 * 10,
    }
    assert summary.multiply_adds == sum(macs.values())
    shapes = {row.name: row.output_shape for row in summary.layers}
    assert shapes["features.6"] == (1, 32, 4, 4)
    assert shapes["head"] == (1, 10)
    assert summary.parameters - summary.trainable_parameters == 10
    # Mean, variance and one count of each of three normalisations.
    assert summary.buffers == 2 * (16 + 32 + 32) + 3


def test_a_network_is_left_as_it_was() -> None:
    """Its weights, its mode and what it does when it is called."""
    model = SmallCNN(channels=1, num_classes=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    summarize_model(model, 1, 8)

    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_network_that_needs_values_is_run_on_the_cpu() -> None:
    """The user's own may look at its numbers; its statistics and mode stay as they were."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(2)
            self.top = nn.Linear(2, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.sum().item() == 0.0
            scores: torch.Tensor = self.top(self.norm(images).mean(dim=(2, 3)))
            return scores

    model = Looks()

    summary = summarize_model(model, 2, 5)

    assert summary.multiply_adds == 2 * 3
    assert model.training
    assert model.norm.num_batches_tracked == 0


def test_heads_that_evaluation_does_not_pass_are_listed(summarize: Summarize) -> None:
    """GoogLeNet's auxiliary ones, with their parameters and without a shape."""
    summary = summarize("googlenet")

    rows = {row.name: row for row in summary.layers}
    assert rows["aux1"].output_shape is None
    assert rows["aux1"].parameters > 10**6
    assert "not passed" in summary.describe()


def test_deep_networks_are_folded_to_a_page(summarize: Summarize) -> None:
    """ResNet-50 at the level of its blocks, each with its own sums and shape."""
    summary = summarize("resnet50")

    lines = summary.describe().splitlines()

    assert len(lines) <= 42
    assert lines[0] == (
        "25,557,032 parameters, 25,557,032 of them trainable, 53,173 elements of buffers, "
        "4,089.2 million multiply-adds per image"
    )
    assert lines[1].split() == ["layer", "type", "output", "parameters", "multiply-adds"]
    # 256·64 + 64·64·9 + 64·256, and two per normalised channel, at 56·56 pixels.
    weights = 256 * 64 + 64 * 64 * 9 + 64 * 256
    assert [line.split() for line in lines if line.startswith("layer1.1 ")] == [
        [
            "layer1.1",
            "Bottleneck",
            "1×256×56×56",
            f"{weights + 2 * (64 + 64 + 256):,}",
            f"{weights * 56 * 56:,}",
        ]
    ]


def test_flat_networks_are_cut() -> None:
    """Where there is nothing to fold, the rest is counted."""
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(50)))

    assert summarize_model(model, 1, 4).describe().splitlines()[-1] == "and 10 more"


def test_summaries_are_plain_json() -> None:
    """They travel and are kept as text."""
    summary = summarize_model(SmallCNN(channels=1, num_classes=3), 1, 8)

    values = json.loads(json.dumps(dataclasses.asdict(summary)))

    assert values["layers"][0] == {
        "name": "features.0",
        "type": "Conv2d",
        "output_shape": [1, 16, 8, 8],
        "parameters": 144,
        "multiply_adds": 144 * 64,
    }
