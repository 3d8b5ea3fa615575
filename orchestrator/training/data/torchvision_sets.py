"""torchvision's classification data sets: how each is asked for, and where it keeps what.

Each is reduced to what all of them have: labels, and either pixels in memory or paths of files,
which then take the same road as anybody's folder (decoded once, checked, cached).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from orchestrator.training.data.image_set import Pixels, TensorPixels
from orchestrator.training.data.images import fit_channels
from orchestrator.training.data.own_set import DatasetPixels

Found = tuple[Pixels | tuple[str, ...], Sequence[int]]
Finder = Callable[[Any, int], Found]
"""Images, brought to so many channels, and labels of one of torchvision's objects."""


@dataclass(frozen=True)
class TorchvisionSet:
    """How one data set of torchvision is asked for its parts."""

    name: str
    """Class in torchvision.datasets."""
    find: Finder
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"train": {}})
    """Arguments that select each part that the set has."""
    by_path: bool = False
    """Whether it takes a `loader`, and so hands out its files unopened."""
    download: bool = True
    """Whether torchvision can fetch it."""


def _in_memory(layout: Literal["NHW", "NHWC", "NCHW"], labels: str = "targets") -> Finder:
    """Of a set that holds its pixels as `data`, of this layout."""

    def find(made: Any, channels: int) -> Found:  # noqa: ANN401
        data = torch.as_tensor(made.data)
        images = data[:, None] if layout == "NHW" else data
        images = images.permute(0, 3, 1, 2) if layout == "NHWC" else images
        if images.shape[1] == 1:
            images = images.expand(-1, channels, -1, -1)
        elif images.shape[1] != channels:
            images = torch.stack([fit_channels(image, channels) for image in images])
        values = np.asarray(getattr(made, labels))
        # QMNIST's labels say more of each digit; the class comes first.
        values = values[:, 0] if values.ndim == 2 else values
        return TensorPixels(images, name=type(made).__name__), values.tolist()

    return find


def _by_loader(made: Any, channels: int) -> Found:  # noqa: ANN401, ARG001
    items = [made[row] for row in range(len(made))]
    return tuple(path for path, _ in items), [label for _, label in items]


def _by_samples(made: Any, channels: int) -> Found:  # noqa: ANN401, ARG001
    return tuple(str(path) for path, _ in made._samples), [label for _, label in made._samples]


def _by_lists(made: Any, channels: int) -> Found:  # noqa: ANN401, ARG001
    return tuple(map(str, made._images)), made._labels


def _caltech(made: Any, channels: int) -> Found:  # noqa: ANN401, ARG001
    folder = Path(made.root) / "101_ObjectCategories"
    paths = [
        str(folder / made.categories[label] / f"image_{number:04d}.jpg")
        for label, number in zip(made.y, made.index, strict=True)
    ]
    return tuple(paths), made.y


def _by_item(made: Any, channels: int) -> Found:  # noqa: ANN401
    """Of a set that says a label only together with its image: all are read once."""
    labels = [made[row][1] for row in range(len(made))]
    return DatasetPixels(made, torch.tensor(labels), channels, type(made).__name__), labels


_TRAIN_FLAG: Final = {"train": {"train": True}, "test": {"train": False}}
_TRAIN_TEST: Final = {"train": {"split": "train"}, "test": {"split": "test"}}
_ALL_THREE: Final = {part: {"split": part} for part in ("train", "val", "test")}
_GREY: Final = _in_memory("NHW")

SETS: Final[Mapping[str, TorchvisionSet]] = {
    "mnist": TorchvisionSet("MNIST", _GREY, _TRAIN_FLAG),
    "fashionmnist": TorchvisionSet("FashionMNIST", _GREY, _TRAIN_FLAG),
    "kmnist": TorchvisionSet("KMNIST", _GREY, _TRAIN_FLAG),
    "emnist": TorchvisionSet(
        "EMNIST",
        _GREY,
        {part: {"split": "balanced", **given} for part, given in _TRAIN_FLAG.items()},
    ),
    "qmnist": TorchvisionSet(
        "QMNIST", _GREY, {"train": {"what": "train"}, "test": {"what": "test"}}
    ),
    "usps": TorchvisionSet("USPS", _GREY, _TRAIN_FLAG),
    "cifar10": TorchvisionSet("CIFAR10", _in_memory("NHWC"), _TRAIN_FLAG),
    "cifar100": TorchvisionSet("CIFAR100", _in_memory("NHWC"), _TRAIN_FLAG),
    "svhn": TorchvisionSet("SVHN", _in_memory("NCHW", "labels"), _TRAIN_TEST),
    "stl10": TorchvisionSet("STL10", _in_memory("NCHW", "labels"), _TRAIN_TEST),
    "flowers102": TorchvisionSet("Flowers102", _by_loader, _ALL_THREE, by_path=True),
    "oxfordiiitpet": TorchvisionSet(
        "OxfordIIITPet",
        _by_lists,
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
    ),
    "food101": TorchvisionSet("Food101", _by_loader, _TRAIN_TEST, by_path=True),
    "imagenet": TorchvisionSet(
        "ImageNet",
        _by_loader,
        {"train": {"split": "train"}, "val": {"split": "val"}},
        by_path=True,
        download=False,
    ),
    "caltech101": TorchvisionSet("Caltech101", _caltech),
    "dtd": TorchvisionSet("DTD", _by_loader, _ALL_THREE, by_path=True),
    "eurosat": TorchvisionSet("EuroSAT", _by_loader, by_path=True),
    "fgvcaircraft": TorchvisionSet("FGVCAircraft", _by_loader, _ALL_THREE, by_path=True),
    "gtsrb": TorchvisionSet("GTSRB", _by_samples, _TRAIN_TEST),
    "pcam": TorchvisionSet("PCAM", _by_item, _ALL_THREE),
    "stanfordcars": TorchvisionSet(
        "StanfordCars", _by_loader, _TRAIN_TEST, by_path=True, download=False
    ),
    "sun397": TorchvisionSet("SUN397", _by_loader, by_path=True),
    "country211": TorchvisionSet(
        "Country211",
        _by_loader,
        {"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}},
        by_path=True,
    ),
}
"""Name of key `data.dataset` to what it is in torchvision."""
