"""Steps of torchvision and of one's own: built from plain values, applied to bytes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import StepPlan
from orchestrator.training.data.images import tensor_to_pil
from orchestrator.training.data.normalization import Normalization
from orchestrator.training.data.transforms import Pipeline

IMAGE = torch.randint(
    256, (3, 24, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)

ON_PIL = [
    "RandomRotation",
    "RandomAffine",
    "RandomPerspective",
    "ColorJitter",
    "RandomEqualize",
    "RandAugment",
    "TrivialAugmentWide",
    "AutoAugment",
]


def build(*steps: tuple[str, dict[str, Any]], **options: Any) -> Pipeline:
    """A pipeline of steps by name and arguments."""
    return Pipeline([StepPlan(name=name, arguments=given) for name, given in steps], **options)


def refusal(call: Callable[[], object]) -> str:
    """The line with which something is refused."""
    with pytest.raises(TrainingError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RandomResizedCrop", {"size": 16, "scale": [0.2, 1.0]}),
        ("Resize", {"size": [10, 12], "interpolation": "bicubic"}),
        ("CenterCrop", {"size": 16}),
        ("RandomCrop", {"size": 20, "padding": [2, 2, 2, 2], "padding_mode": "reflect"}),
        ("RandomHorizontalFlip", {"p": 1.0}),
        ("ColorJitter", {"brightness": 0.4, "contrast": [0.5, 1.5], "hue": 0.1}),
        ("RandomRotation", {"degrees": 10, "interpolation": "bilinear"}),
        ("RandAugment", {"num_ops": 3}),
        ("TrivialAugmentWide", {}),
        ("AugMix", {}),
        ("AutoAugment", {}),
        ("AutoAugment", {"policy": "svhn"}),
        ("RandomErasing", {"p": 1.0, "value": 7}),
        ("GaussianBlur", {"kernel_size": 3, "sigma": [0.1, 2.0]}),
        ("RandomAffine", {"degrees": 5, "translate": [0.1, 0.1]}),
        ("RandomPerspective", {"p": 1.0}),
        ("Grayscale", {"num_output_channels": 3}),
        ("RandomGrayscale", {"p": 1.0}),
        ("RandomInvert", {"p": 1.0}),
        ("RandomPosterize", {"bits": 3, "p": 1.0}),
        ("RandomSolarize", {"threshold": 128, "p": 1.0}),
        ("RandomAutocontrast", {"p": 1.0}),
        ("RandomEqualize", {"p": 1.0}),
        ("Pad", {"padding": [1, 2], "fill": 3}),
    ],
)
def test_a_step_is_torchvisions(name: str, arguments: dict[str, Any]) -> None:
    """With tuples for JSON's lists, interpolation and policy by word; some on PIL images."""
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in arguments.items()
    }
    if "interpolation" in given:
        given["interpolation"] = v2.InterpolationMode(given["interpolation"])
    if "policy" in given:
        given["policy"] = v2.AutoAugmentPolicy(given["policy"])
    before = IMAGE.clone()

    on_pil = name in ON_PIL
    image = tensor_to_pil(IMAGE) if on_pil else IMAGE.clone()

    torch.manual_seed(3)
    expected = getattr(v2, name)(**given)(image)
    expected = v2.functional.pil_to_tensor(expected) if on_pil else expected
    torch.manual_seed(3)
    got = build((name, arguments))(IMAGE)

    assert torch.equal(got, expected)
    assert torch.equal(IMAGE, before)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_rotations_take_any_number_of_channels(channels: int) -> None:
    """Those that PIL does not know stay tensors; a quarter turn is exact on both roads."""
    image = IMAGE[:1, :20, :20].repeat(channels, 1, 1)

    turned = build(("RandomRotation", {"degrees": [90, 90]}))(image)

    assert torch.equal(turned, image.rot90(1, dims=(1, 2)))


def test_steps_follow_each_other() -> None:
    """The second sees what the first made."""
    pipeline = build(("CenterCrop", {"size": [4, 6]}), ("Pad", {"padding": 1}))

    assert pipeline(IMAGE).shape == (3, 6, 8)


def test_no_steps_need_no_torchvision() -> None:
    """The image itself comes out."""
    assert build()(IMAGE) is IMAGE


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (0.5,), ()])
def test_erasing_bytes_is_erasing_after_normalising(mean: tuple[float, ...]) -> None:
    """The same rectangle becomes 0, to half a grey level of rounding; without a mean, black."""
    normalization = Normalization(mean, (0.25,) * len(mean))

    torch.manual_seed(5)
    erase = build(("RandomErasing", {"p": 1.0}), mean_pixel=normalization.mean_pixel())
    bytes_first = normalization.apply(erase(IMAGE)[None])
    torch.manual_seed(5)
    floats_first = v2.RandomErasing(p=1.0)(normalization.apply(IMAGE[None])[0])[None]

    erased = floats_first == 0
    assert 0.01 < erased.float().mean() < 0.4
    assert torch.equal(bytes_first[~erased], floats_first[~erased])
    assert bytes_first[erased].abs().max() <= (0.5 / 255 / 0.25 + 1e-6 if mean else 0)


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        (
            "RandomHorizontalFlop",
            {},
            "data.transforms: torchvision has no transform 'RandomHorizontalFlop'; did you "
            "mean RandomHorizontalFlip?",
        ),
        ("functional", {}, "data.transforms: torchvision has no transform 'functional'"),
        (
            "RandomCrop",
            {},
            "data.transforms: RandomCrop: missing 1 required positional",
        ),
        (
            "CenterCrop",
            {"size": 4, "pad": 1},
            "data.transforms: CenterCrop: got an unexpected keyword",
        ),
        (
            "AutoAugment",
            {"policy": "mnist"},
            "data.transforms: AutoAugment: no policy 'mnist'; there are imagenet, cifar10,",
        ),
        (
            "RandomErasing",
            {"scale": [0.5, 2]},
            "data.transforms: RandomErasing: Scale should be between 0 and 1",
        ),
        (
            "RandomErasing",
            {"value": "random"},
            "data.transforms: RandomErasing: value 'random' is noise around 0, which uint8",
        ),
        (
            "Resize",
            {"size": 4, "interpolation": "linear"},
            "data.transforms: Resize: no interpolation 'linear'; there are nearest, ",
        ),
    ],
)
def test_a_wrong_step_is_refused(name: str, arguments: dict[str, Any], line: str) -> None:
    """In torchvision's own words, when it is built."""
    assert refusal(lambda: build((name, arguments))).startswith(line)


def test_a_step_that_does_not_fit_the_image_says_so() -> None:
    """Torchvision notices some mistakes only then."""
    line = refusal(lambda: build(("RandomCrop", {"size": 50}))(IMAGE))

    assert line.startswith("data.transforms: RandomCrop fails (ValueError: Required crop size")


def test_what_leaves_bytes_behind_is_refused() -> None:
    """Normalisation comes by itself; floats would be normalised as if they were bytes."""
    steps = ("ToDtype", {"dtype": torch.float32, "scale": True})

    assert refusal(lambda: build(steps)(IMAGE)) == (
        "data.transforms: ToDtype returns float32 of shape (3, 24, 20); "
        "needs a uint8 tensor (C, H, W)"
    )


OWN = """
import torch
class Darker:
    def __init__(self, by):
        self.by = by
    def __call__(self, image):
        return image // self.by
def crop(image, size=2):
    return image[:, :size, :size]
def forget(image):
    return None
def crash(image):
    raise KeyError("gone")
"""


@pytest.fixture
def sources(tmp_path: Path) -> str:
    """A folder with the module `own_steps_of_test`."""
    (tmp_path / "own_steps_of_test.py").write_text(OWN)
    return str(tmp_path)


def test_own_steps_are_classes_or_functions(sources: str) -> None:
    """A class is built with the arguments, a function gets them with each image."""
    pipeline = build(
        ("own_steps_of_test:Darker", {"by": 2}),
        ("own_steps_of_test:crop", {"size": 3}),
        sources=sources,
    )

    assert torch.equal(pipeline(IMAGE), IMAGE[:, :3, :3] // 2)
    assert torch.equal(pickle.loads(pickle.dumps(pipeline))(IMAGE), pipeline(IMAGE))
    assert pipeline.draws_elsewhere
    assert not build(("CenterCrop", {"size": 2})).draws_elsewhere


def test_own_steps_are_watched(sources: str) -> None:
    """What they return, and how they fail, is said with their name."""
    assert refusal(lambda: build(("own_steps_of_test:forget", {}), sources=sources)(IMAGE)) == (
        "data.transforms: own_steps_of_test:forget returns a NoneType; "
        "needs a uint8 tensor (C, H, W)"
    )
    assert refusal(lambda: build(("own_steps_of_test:crash", {}), sources=sources)(IMAGE)) == (
        "data.transforms: own_steps_of_test:crash fails (KeyError: 'gone')"
    )
    line = refusal(lambda: build(("own_steps_of_test:Darkr", {}), sources=sources))
    assert line == "data.transforms: own_steps_of_test has no 'Darkr'; did you mean 'Darker'?"


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([], True),
        ([("Resize", {"size": 8}), ("CenterCrop", {"size": [8, 8]})], True),
        ([("Resize", {"size": 8}), ("CenterCrop", {"size": 7})], False),
        ([("Resize", {"size": 9}), ("CenterCrop", {"size": 8})], False),
        ([("Resize", {"size": 8, "max_size": 9})], False),
        ([("RandomHorizontalFlip", {})], False),
    ],
)
def test_steps_that_change_nothing_are_known(
    steps: list[tuple[str, dict[str, Any]]], kept: bool
) -> None:
    """Images of 8 x 8 pixels need not be touched one by one."""
    pipeline = build(*steps)

    assert pipeline.keeps(8, 8) is kept
    if kept:
        assert torch.equal(pipeline(IMAGE[:, :8, :8]), IMAGE[:, :8, :8])
