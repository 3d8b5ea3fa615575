"""Trained weights into a network: what fits, what does not, and what is said of it."""

import dataclasses
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import WeightsPlan
from orchestrator.training.model.build import BuiltModel
from orchestrator.training.model.first_convolution import adapt_rgb_weight
from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.model.torchvision_weights import hub_folder, load_torchvision_weights
from orchestrator.training.model.weights import fit_tensors

Build = Callable[..., BuiltModel]

HEAD = 32 * 10 + 10
BODY = 9 * (3 * 16 + 16 * 32 + 32 * 32) + 2 * (16 + 32 + 32)


def wanted(source: str, **changes: Any) -> WeightsPlan:
    """A plan that takes whatever fits."""
    plan = WeightsPlan(source=source, sha256="", strict=False, min_loaded=0.0)
    return dataclasses.replace(plan, **changes)


def small_tensors(*, channels: int = 3, num_classes: int = 10) -> dict[str, Tensor]:
    """Tensors of a small network, none of which is as it was initialised."""
    model = SmallCNN(channels=channels, num_classes=num_classes)
    generator = torch.Generator().manual_seed(9)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator))
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test saves its weights."""
    return tmp_path / "weights.pth"


@pytest.fixture
def load(build: Build, file: Path) -> Callable[..., BuiltModel]:
    """Builds the small network with the weights in the file."""

    def from_file(**changes: Any) -> BuiltModel:
        classes = changes.pop("classes", ())
        num_classes = changes.pop("num_classes", 10)
        return build(
            weights=wanted("weights.pth", **changes),
            weights_file=str(file),
            classes=classes,
            num_classes=num_classes,
        )

    return from_file


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": tensors, "model_ema": {}, "args": [1, "a"]},
        lambda tensors: {"model_state_dict": tensors},
        lambda tensors: {"model_ema": {f"module.{name}": t for name, t in tensors.items()}},
        lambda tensors: {f"_orig_mod.module.{name}": t for name, t in tensors.items()},
        lambda tensors: {f"model.{name}": t for name, t in tensors.items()},
        lambda tensors: {
            name: tensor
            for name, tensor in tensors.items()
            if not name.endswith("num_batches_tracked")
        },
    ],
    ids=[
        "plain",
        "state_dict",
        "model",
        "model_state_dict",
        "ema",
        "compiled",
        "wrapped",
        "old",
    ],
)
def test_every_usual_container_is_unpacked(
    load: Callable[..., BuiltModel], file: Path, wrap: Callable[[Any], Any]
) -> None:
    """All tensors arrive, also strictly; counts of batches may be missing."""
    tensors = small_tensors()
    torch.save(wrap(tensors), file)

    built = load(strict=True, min_loaded=1.0)

    state = built.model.state_dict()
    for name, tensor in tensors.items():
        assert name.endswith("num_batches_tracked") or torch.equal(state[name], tensor)
    assert built.load_report is not None
    assert built.load_report.share == 1.0
    assert built.load_report.is_complete


def test_prefixes_that_belong_to_the_network_stay() -> None:
    """A network may itself call a part `model`."""
    model = nn.Sequential()
    model.add_module("model", nn.Linear(2, 3))

    report = fit_tensors(model, {"model.weight": torch.ones(3, 2)}, source="x")

    assert report.matched == ("model.weight",)
    assert torch.equal(model.get_parameter("model.weight"), torch.ones(3, 2))


def test_half_precision_is_loaded_as_single(
    load: Callable[..., BuiltModel], file: Path
) -> None:
    """The network keeps its own type."""
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in small_tensors().items()
    }
    torch.save(tensors, file)

    weight = load(strict=True).model.get_parameter("head.weight")

    assert weight.dtype == torch.float32
    assert torch.equal(weight, tensors["head.weight"].float())


def test_what_does_not_fit_is_accounted_for(
    load: Callable[..., BuiltModel], file: Path
) -> None:
    """Missing, unexpected, of another shape; the share leaves out a head of another shape."""
    tensors = small_tensors(num_classes=7)
    del tensors["features.0.weight"]
    tensors["extra.weight"] = torch.ones(3)
    torch.save(tensors, file)

    report = load().load_report

    assert report is not None
    assert report.missing == ("features.0.weight",)
    assert report.unexpected == ("extra.weight",)
    shapes = [dataclasses.astuple(entry) for entry in report.shape_mismatch]
    assert shapes == [("head.weight", (7, 32), (10, 32)), ("head.bias", (7,), (10,))]
    assert report.share == (BODY - 9 * 3 * 16) / BODY
    assert report.describe().splitlines() == [
        "weights weights.pth: 97.0% of the parameters loaded, 17 tensors",
        "  in the network alone (1): 'features.0.weight'",
        "  in the weights alone (1): 'extra.weight'",
        "  other shapes (2): head.weight (7, 32) there, (10, 32) here; "
        "head.bias (7,) there, (10,) here",
    ]
    json.dumps(dataclasses.asdict(report))


def test_a_missing_head_counts_where_its_shape_does_not_differ(
    load: Callable[..., BuiltModel], file: Path
) -> None:
    """The share is of all elements of parameters, and buffers are none."""
    tensors = small_tensors()
    del tensors["head.weight"], tensors["head.bias"]
    torch.save(tensors, file)

    report = load().load_report

    assert report is not None
    assert report.share == BODY / (BODY + HEAD)


def test_too_little_is_refused(load: Callable[..., BuiltModel], file: Path) -> None:
    """Another network's weights would be random ones by another name."""
    torch.save({"features.1.weight": torch.ones(16), "conv9.weight": torch.ones(1)}, file)

    message = (
        "model.weights: 0.1% of the parameters of small_cnn are in weights.pth, and "
        "model.min_loaded asks for 50.0% (missing: 'features.0.weight', "
        "'features.1.bias', 'features.1.running_mean' and 13 more; unexpected: 'conv9.weight'"
        "); is it another network's?"
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        load(min_loaded=0.5)


def test_strict_weights_must_agree_in_every_tensor(
    load: Callable[..., BuiltModel], file: Path
) -> None:
    """A head of another shape is a disagreement too."""
    torch.save(small_tensors(num_classes=7), file)

    message = (
        "model.weights: weights.pth and small_cnn do not agree in every tensor (of another "
        "shape: 'head.weight', 'head.bias'); set model.strict: false to load the rest"
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        load(strict=True)


@pytest.mark.parametrize("kind", ["list", "map"])
def test_a_head_for_other_classes_is_left_out(
    load: Callable[..., BuiltModel], file: Path, kind: str
) -> None:
    """Same shape, other order: its rows would mean something else."""
    tensors = small_tensors(num_classes=2)
    torch.save(tensors, file)
    names = ["dog", "cat"]
    written = names if kind == "list" else {name: at for at, name in enumerate(names)}
    file.with_name("classes.json").write_text(json.dumps(written))

    built = load(num_classes=2, classes=("cat", "dog"))

    report = built.load_report
    assert report is not None
    why = "the classes differ ('dog', 'cat' there, 'cat', 'dog' here)"
    assert [dataclasses.astuple(entry) for entry in report.left_out] == [
        ("head.weight", why),
        ("head.bias", why),
    ]
    assert report.share == 1.0
    assert f"left out 'head.weight', 'head.bias': {why}" in report.describe()
    assert not torch.equal(built.model.get_parameter("head.weight"), tensors["head.weight"])
    same = load(num_classes=2, classes=("dog", "cat"), strict=True).model
    assert torch.equal(same.get_parameter("head.weight"), tensors["head.weight"])


class HeadFirst(nn.Module):
    """Registers what classifies before what it stands on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.body = nn.Linear(3, 4)


def test_a_head_is_told_by_its_scores_and_not_by_its_place() -> None:
    """The layer with one score per class is left out, wherever the network registers it."""
    tensors = {name: torch.ones_like(value) for name, value in HeadFirst().state_dict().items()}
    model = HeadFirst()

    report = fit_tensors(model, tensors, source="x", head_reason="others", num_classes=2)

    assert [entry.name for entry in report.left_out] == ["head.weight", "head.bias"]
    assert torch.equal(model.body.weight, torch.ones(4, 3))
    assert not torch.equal(model.head.weight, torch.ones(2, 4))


def test_other_classes_of_a_network_without_a_head_are_refused() -> None:
    """Its scores would mean something else, and nothing can be left out."""
    message = r"^model\.weights: others, and no layer of Flatten can be told"

    with pytest.raises(TrainingError, match=message):
        fit_tensors(nn.Flatten(), {}, source="x", head_reason="others", num_classes=2)


def test_a_spoilt_map_of_classes_is_refused(
    load: Callable[..., BuiltModel], file: Path
) -> None:
    """Whether the head fits cannot be told."""
    torch.save(small_tensors(num_classes=2), file)
    file.with_name("classes.json").write_text("cat, dog")

    with pytest.raises(TrainingError, match=r"classes\.json is no list of class names \("):
        load(num_classes=2, classes=("cat", "dog"))


def test_grey_images_get_the_sum_over_colours() -> None:
    """A grey image gives the same whether it is fed once or three times."""
    colour = nn.Conv2d(3, 8, 3).requires_grad_(False)
    grey = nn.Conv2d(1, 8, 3)
    images = torch.rand(2, 1, 6, 6)

    grey.weight = nn.Parameter(adapt_rgb_weight(colour.weight, 1))
    grey.bias = colour.bias

    assert torch.allclose(grey(images), colour(images.expand(-1, 3, -1, -1)), atol=1e-6)


def test_more_channels_get_the_colours_over_and_over() -> None:
    """Red, green, blue, red, green at 3/5 of their size."""
    weight = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)

    found = adapt_rgb_weight(weight, 5).flatten()

    assert torch.allclose(found, torch.tensor([0.6, 1.2, 2.4, 0.6, 1.2]))


def test_a_networks_first_convolution_is_fitted_to_its_channels(
    build: Build, file: Path
) -> None:
    """Strictly too: nothing is lost, and the report says so."""
    tensors = small_tensors(channels=3)
    torch.save(tensors, file)

    built = build(channels=1, weights=wanted("rgb", strict=True), weights_file=str(file))

    expected = tensors["features.0.weight"].sum(dim=1, keepdim=True)
    assert torch.equal(built.model.get_parameter("features.0.weight"), expected)
    assert built.load_report is not None
    assert built.load_report.adapted == ("features.0.weight: from RGB to 1 channel",)


def test_positions_of_a_vision_transformer_are_interpolated() -> None:
    """A plane over 2·2 patches is the same plane over 3·3, and the class token stays."""
    module = pytest.importorskip(
        "torchvision.models.vision_transformer", reason="torchvision is not installed"
    )
    shape = {"patch_size": 4, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    positions = torch.zeros(1, 5, 8)
    positions[0, :, 0] = torch.tensor([7.0, 0.0, 1.0, 2.0, 3.0])
    tensors = module.VisionTransformer(image_size=8, **shape).state_dict()
    model = module.VisionTransformer(image_size=12, **shape)

    report = fit_tensors(model, {**tensors, "encoder.pos_embedding": positions}, source="x")

    found = model.get_parameter("encoder.pos_embedding")[0, :, 0]
    assert found.shape == (10,)
    assert found[0] == 7.0
    plane = torch.tensor([[0.0, 0.5, 1.0], [1.0, 1.5, 2.0], [2.0, 2.5, 3.0]])
    # The bicubic spline bends at the edges alone.
    assert torch.allclose(found[1:].view(3, 3)[::2, ::2], plane[::2, ::2], atol=1e-5)
    assert found[5].item() == pytest.approx(1.5, abs=1e-5)
    assert report.is_complete
    assert report.adapted == ("encoder.pos_embedding: from 5 to 10 positions",)


def test_shared_tensors_need_one_name_only() -> None:
    """Two layers with one weight are complete once it is loaded under either name."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3, bias=False)
            self.second = nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

    report = fit_tensors(Tied(), {"first.weight": torch.ones(3, 3)}, source="x")

    assert report.is_complete
    assert report.share == 1.0


def test_the_file_is_the_one_that_was_planned_with(
    load: Callable[..., BuiltModel], file: Path
) -> None:
    """Its digest decides, not its name."""
    torch.save(small_tensors(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    assert load(sha256=digest).load_report is not None
    message = (
        rf"not the file that the plan was made with \(sha256 {digest[:12]}…, planned 0{{12}}…"
    )
    with pytest.raises(TrainingError, match=message):
        load(sha256="0" * 64)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch hub's folder, of this test alone."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    # So that nothing is asked of a network where there is one.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = hub_folder()
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "source", ["DEFAULT", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.DEFAULT"]
)
def test_torchvisions_weights_come_from_the_hubs_folder(
    build: Build, hub: Path, source: str
) -> None:
    """By each of their names; the head of another size keeps its first values."""
    from torchvision.models import squeezenet1_1

    network = squeezenet1_1(num_classes=1000)
    tensors = network.state_dict()
    torch.save(tensors, hub / "squeezenet1_1-b8a52dc0.pth")

    built = build("squeezenet1_1", weights=wanted(source, min_loaded=1.0))

    name = "features.0.weight"
    assert torch.equal(built.model.get_parameter(name), tensors[name])
    assert built.load_report is not None
    assert [entry.name for entry in built.load_report.shape_mismatch] == [
        "classifier.1.weight",
        "classifier.1.bias",
    ]


def test_weights_that_cannot_be_fetched_say_what_is_missing_where(
    build: Build, hub: Path
) -> None:
    """And how to mend it without a network."""
    message = (
        rf"^model\.weights: resnet18-f37072fd\.pth is missing in {re.escape(str(hub))} and "
        r"cannot be fetched \(URLError: .*\); where there is a network, run "
        r"'orchestrator fetch SPEC', or copy the file there$"
    )

    with pytest.raises(TrainingError, match=message):
        build("resnet18", weights=wanted("DEFAULT"))


def test_a_half_written_file_of_the_hub_is_named(build: Build, hub: Path) -> None:
    """It was cut off on its way."""
    (hub / "resnet18-f37072fd.pth").write_bytes(b"PK\x03\x04 half of it")

    with pytest.raises(TrainingError, match=r"resnet18-f37072fd\.pth cannot be read from"):
        build("resnet18", weights=wanted("DEFAULT"))


def test_workers_of_a_node_fetch_a_file_once(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, and then finds the file."""
    from torchvision.models import squeezenet1_1

    kept = tmp_path / "kept.pth"
    torch.save(squeezenet1_1().state_dict(), kept)
    fetched: list[str] = []
    second_began = threading.Event()

    # The network alone is another one.
    def fetch(url: str, destination: str, *_: object, **__: object) -> None:
        fetched.append(url)
        if len(fetched) == 2:
            second_began.set()
        # Without a lock the other worker would come here while this one is fetching.
        second_began.wait(timeout=0.5)
        shutil.copy(kept, destination)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with ThreadPoolExecutor(2) as workers:
        found = list(
            workers.map(load_torchvision_weights, ["squeezenet1_1"] * 2, ["DEFAULT"] * 2)
        )

    assert fetched == ["https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"]
    assert found[0].keys() == found[1].keys()
    assert (hub / "squeezenet1_1-b8a52dc0.pth").exists()


@pytest.mark.parametrize(
    ("architecture", "source", "message"),
    [
        (
            "resnet18",
            "IMAGENET1K_V7",
            "torchvision has no 'IMAGENET1K_V7' for resnet18; it has "
            "'IMAGENET1K_V1', 'DEFAULT'",
        ),
        (
            "resnet18",
            "ResNet34_Weights.DEFAULT",
            "torchvision has no 'ResNet34_Weights.DEFAULT' for resnet18; it has "
            "'IMAGENET1K_V1', 'DEFAULT'",
        ),
        (
            "small_cnn",
            "DEFAULT",
            "there is no file 'DEFAULT', and torchvision has no weights for small_cnn; give "
            "the path of a .safetensors or .pth file, or run:RUN",
        ),
    ],
)
def test_weights_that_do_not_exist_are_refused(
    build: Build, architecture: str, source: str, message: str
) -> None:
    """With those that do."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")

    with pytest.raises(TrainingError, match=f"^{re.escape(f'model.weights: {message}')}$"):
        build(architecture, weights=wanted(source))
