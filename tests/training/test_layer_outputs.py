"""What layers give: their own values, whatever is done to them afterwards."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from orchestrator.errors import SpecError, TrainingError
from orchestrator.training.layer_outputs import LayerReader, check_layers, pool_output
from orchestrator.training.precision import Precision

FLOAT32 = Precision.of("float32", torch.device("cpu"), channels_last=False)


def read(model: nn.Module, *layers: str, images: Tensor, pool: bool = False) -> list[Tensor]:
    """What the layers of a network in evaluation mode give."""
    reader = LayerReader(model.eval(), layers, pool=pool, precision=FLOAT32)
    return list(reader.read(images).values())


@pytest.fixture(scope="module")
def vgg() -> nn.Module:
    """VGG-11 with batch normalisation, all of whose ReLUs work in place."""
    torch.manual_seed(0)
    return models.vgg11_bn(num_classes=7).eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """ResNet-18, whose ReLUs work in place and whose sums do too."""
    torch.manual_seed(0)
    return models.resnet18(num_classes=7).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Three colour images of 32 pixels."""
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def without_in_place(model: nn.Module) -> nn.Module:
    """The same network, nothing in it written over."""
    changed = copy.deepcopy(model)
    for layer in changed.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return changed


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4, 12, 13, 28])
def test_layers_before_a_relu_in_place_keep_their_own_values(
    vgg: nn.Module, images: Tensor, position: int
) -> None:
    """Each layer of VGG gives what the network cut off behind it gives."""
    prefix = without_in_place(vgg.features[: position + 1])  # type: ignore[index]
    with torch.no_grad():
        expected = prefix(images)

    (given,) = read(vgg, f"features.{position}", images=images)

    assert torch.equal(given, expected)
    if isinstance(vgg.features[position], nn.BatchNorm2d):  # type: ignore[index]
        assert (given < 0).any()


def test_layers_within_a_residual_block_keep_their_own_values(
    resnet: nn.Module, images: Tensor
) -> None:
    """The last normalisation of a block is added to and written over right after it."""
    safe = without_in_place(resnet)
    block = safe.layer1[0]  # type: ignore[index]
    with torch.no_grad():
        stem = safe.maxpool(safe.relu(safe.bn1(safe.conv1(images))))  # type: ignore[operator]
        inner = block.bn1(block.conv1(stem))
        outer = block.bn2(block.conv2(inner.relu()))

    given = read(resnet, "layer1.0.bn2", "layer1.0.bn1", "maxpool", "layer1.0", images=images)

    for value, expected in zip(given, (outer, inner, stem, (outer + stem).relu()), strict=True):
        assert torch.equal(value, expected)


def test_features_that_are_pooled_are_kept_too(vgg: nn.Module, images: Tensor) -> None:
    """The mean of a map before the ReLU; of a vector before one in place, a copy."""
    with torch.no_grad():
        prefix = without_in_place(vgg.features[:2])(images)  # type: ignore[index]
        whole = without_in_place(vgg)
        flat = whole.avgpool(whole.features(images)).flatten(1)  # type: ignore[operator]
        dense = whole.classifier[0](flat)  # type: ignore[index]

    maps, vector = read(vgg, "features.1", "classifier.0", images=images, pool=True)

    assert torch.allclose(maps, prefix.mean(dim=(2, 3)), atol=1e-6)
    assert torch.equal(vector, dense)
    assert (vector < 0).any()


def test_a_network_is_left_without_hooks(resnet: nn.Module, images: Tensor) -> None:
    """Also where a pass has failed; torch's quick attention is back on."""
    reader = LayerReader(resnet, ["fc"], pool=False, precision=FLOAT32)
    with pytest.raises(TrainingError):
        reader.read(images[:, :2])

    assert not any(layer._forward_hooks for layer in resnet.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_layers_within_an_encoder_are_passed() -> None:
    """The one operator of torch for a whole encoder layer would pass them by."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    tokens = torch.randn(2, 5, 8)

    (given,) = read(encoder, "linear1", images=tokens)

    assert given.shape == (2, 5, 16)


class Odd(nn.Module):
    """Layers that give what cannot be kept as one row per image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.twice = nn.ReLU()
        self.never = nn.Linear(3, 3)
        self.rows = nn.Flatten(0, 1)
        self.inner = nn.ModuleDict({"last": nn.Linear(3, 2)})

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, 2) of images (B, T, 4)."""
        steps, _ = self.lstm(self.twice(self.twice(images)))
        self.rows(steps)
        scores: Tensor = self.inner["last"](steps[:, -1])
        return scores


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("lstm", "'lstm' gives a tuple, not one tensor"),
        ("twice", "'twice' is passed several times for an image"),
        ("never", "'never' is not passed when an image is classified"),
        ("rows", r"'rows' gives no row per image \(shape \(10, 3\) for 2 images\)"),
        ("inner", "'inner' is not passed"),
    ],
)
def test_what_is_no_row_per_image_is_refused(layer: str, text: str) -> None:
    """A tuple, a layer that is called twice or never, rows that are no images."""
    with pytest.raises(SpecError, match=rf"^--layers: {text}"):
        read(Odd(), layer, images=torch.randn(2, 5, 4))


def test_a_refusal_names_the_layer_around() -> None:
    """Inside a transformer's block the block itself is the next best."""
    block = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 2, batch_first=True)})

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, images: Tensor) -> Tensor:
            value: Tensor = self.block["attention"](images, images, images)[0]
            return value

    with pytest.raises(SpecError, match=r"one tensor, once, such as 'block'$"):
        read(Net(), "block.attention", images=torch.randn(2, 5, 4))


def test_a_wrong_name_lists_those_that_are_near(resnet: nn.Module) -> None:
    """Near ones first, then the beginning and the end of all; every mistake at once."""
    with pytest.raises(SpecError) as refusal:
        check_layers(resnet, ["layer4", "layer5", "layer4.1.conv3", "layer4"])

    unknown, deep, twice = refusal.value.mistakes
    assert unknown.startswith("--layers: ResNet has no layer 'layer5'; did you mean 'layer")
    assert unknown.endswith(
        "it has conv1, bn1, relu, maxpool, layer1, layer1.0, layer1.0.conv1,"
        " layer1.0.bn1, … , layer4.1.conv2, layer4.1.bn2, avgpool, fc "
        "(67 layers)"
    )
    assert "did you mean 'layer4.1.conv2' or " in deep
    assert twice == "--layers: 'layer4' is there twice"


def test_names_of_a_small_network_are_all_listed() -> None:
    """Nothing near, few layers: each is named."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    with pytest.raises(SpecError, match=r"has no layer 'zzz'; it has 0, 1$"):
        check_layers(model, ["zzz"])


@pytest.mark.parametrize(
    ("make", "shape", "reason"),
    [
        (lambda: models.vgg11_bn(num_classes=2), (1, 32, 32), "RuntimeError: Given groups=1"),
        (
            lambda: models.VisionTransformer(32, 8, 1, 2, 8, 8, num_classes=2),
            (3, 40, 40),
            "AssertionError: Wrong image height! Expected 32 but got 40!",
        ),
    ],
)
def test_an_image_that_does_not_fit_is_named(
    make: Callable[[], nn.Module], shape: tuple[int, ...], reason: str
) -> None:
    """The shape, and the network's own reason in one line, whatever it raised."""
    with pytest.raises(TrainingError) as refusal:
        read(make(), "", images=torch.zeros(2, *shape))

    said = str(refusal.value)
    assert said.startswith("data.image_size: ")
    assert f" cannot take images of shape {shape} ({reason}" in said
    assert "\n" not in said


SQUARE = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("output", "images", "expected"),
    [
        (torch.arange(16.0).view(2, 2, 2, 2), SQUARE, [[1.5, 5.5], [9.5, 13.5]]),
        (torch.arange(24.0).view(2, 2, 2, 3), SQUARE, [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]]),
        (torch.arange(24.0).view(2, 2, 2, 3), SQUARE[..., :4], [[2.5, 8.5], [14.5, 20.5]]),
        (torch.arange(12.0).view(2, 3, 2), SQUARE, [[2.0, 3.0], [8.0, 9.0]]),
        (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), SQUARE, [[1.0, 2.0], [3.0, 4.0]]),
    ],
    ids=["map", "channels last", "oblong", "tokens", "vector"],
)
def test_pooling_leaves_one_value_per_channel(
    output: Tensor, images: Tensor, expected: list[list[float]]
) -> None:
    """Maps in either layout over their positions, tokens over themselves."""
    assert pool_output(output, images).tolist() == expected


@pytest.mark.parametrize("make", [lambda: models.swin_t(num_classes=3)])
def test_swins_maps_are_pooled_over_their_positions(make: Callable[[], nn.Module]) -> None:
    """They have channels last; the network's own pooling is the reference."""
    images = torch.randn(2, 3, 64, 64)

    stage, pooled = read(make(), "norm", "flatten", images=images, pool=True)

    assert stage.shape == (2, 768)
    assert torch.allclose(stage, pooled, atol=1e-5)
