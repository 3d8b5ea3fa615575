"""What a data set holds, for planning: sizes and classes, with as little reading as will do."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from PIL.Image import Image
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan, NormalizePlan
from orchestrator.training.data.image_set import TensorPixels
from orchestrator.training.data.loading import check_labels, keep_classes, load_raw
from orchestrator.training.data.own_set import DatasetPixels, read_item
from orchestrator.training.data.raw_set import RawSet
from orchestrator.training.data.torchvision_sets import SETS
from orchestrator.training.own_code import is_own_code

_GREY: Final = ("mnist", "fashionmnist", "kmnist", "emnist", "qmnist", "usps")


def describe_data_set(keys: Mapping[str, Any], *, sources: str) -> dict[str, Any]:
    """Sizes and classes of one of torchvision's data sets, or of the user's own.

    Args:
        keys: Key `data`, as plain values.
        sources: Folder of the user's own modules; empty for none.

    Returns:
        `train_size`, `num_classes`, `channels`, `image_size` (None where images differ),
        `sample_size`, the height or width of the first image, whichever is less, and
        `manifest`, a digest of the images, empty where they are known one by one alone.

    Raises:
        TrainingError: The data is not there, or is not what it must be; one line.
    """
    place = Place(
        folder="",
        loader_workers=0,
        data_root=keys["root"] or "",
        download=keys["download"],
        sources=sources,
    )
    name = keys["dataset"]
    channels = 1 if name in _GREY else 3
    plan = _first_plan(keys, channels)
    raw = keep_classes(load_raw(plan, place, ("train", "val")), keys["classes"] or ())
    for part, found in raw.parts.items():
        check_labels(found, raw.classes, part)
    images = raw.parts["train"].images
    size: int | None = None
    if isinstance(images, TensorPixels):
        size = int(images.tensor.shape[-1])
    sample = size
    if is_own_code(name):
        assert isinstance(images, DatasetPixels)
        channels, sample = _look_at(images)
    return {
        "train_size": len(raw.parts["train"].labels),
        "num_classes": len(raw.classes),
        "channels": channels,
        "image_size": size,
        "sample_size": sample,
        "manifest": _digest(raw, place.data_root),
    }


def _digest(raw: RawSet, root: str) -> str:
    """SHA-256 over classes, labels and pixels; of files, over their names and sizes."""
    digest = hashlib.sha256("\0".join(raw.classes).encode())
    for part, found in raw.parts.items():
        digest.update(f"\n{part}\n".encode() + found.labels.numpy().tobytes())
        digest.update(found.rows.numpy().tobytes())
        images = found.images
        if isinstance(images, TensorPixels):
            pixels: Any = images.tensor.contiguous().numpy()
            digest.update(pixels)
        elif isinstance(images, tuple):
            for path in images:
                size = os.path.getsize(path)  # noqa: PTH202  a Path each takes seconds
                line = f"{path.removeprefix(root)}\0{size}\n"
                digest.update(line.encode(errors="surrogateescape"))
        else:
            return ""
    return digest.hexdigest()


def given_parts(name: str) -> tuple[str, ...]:
    """Parts that one of torchvision's data sets brings; those of others are not known here."""
    return tuple(SETS[name].parts) if name in SETS else ()


def _first_plan(keys: Mapping[str, Any], channels: int) -> DataPlan:
    """A plan that says which data and which split, and leaves the rest open."""
    return DataPlan(
        dataset=keys["dataset"],
        arguments=keys["arguments"],
        manifest="",
        classes=(),
        num_classes=0,
        channels=channels,
        image_size=0,
        batch_size=0,
        train_size=0,
        label_noise=0.0,
        drop_last=False,
        val_share=keys["val_share"],
        test_share=keys["test_share"],
        sampler="shuffle",
        repeated_augmentation=1,
        train_transforms=(),
        eval_transforms=(),
        normalize=NormalizePlan(by="none", mean=(), std=()),
        mixup=0.0,
        cutmix=0.0,
        mix_off_epoch=None,
        on_corrupt=keys["on_corrupt"],
    )


def _look_at(images: DatasetPixels) -> tuple[int, int]:
    """Channels of the first image, and its lesser side."""
    image, _ = read_item(images.dataset, 0, name=images.name)
    if isinstance(image, Image):
        return (1 if len(image.getbands()) < 3 else 3), min(image.size)
    if isinstance(image, Tensor) and image.ndim == 3:
        return image.shape[0], min(image.shape[1:])
    if isinstance(image, np.ndarray) and image.ndim == 3:
        return image.shape[2], min(image.shape[:2])
    if isinstance(image, Tensor | np.ndarray) and image.ndim == 2:
        return 1, min(image.shape)
    raise TrainingError(
        f"data.dataset: {images.describe(0)} is no image ({type(image).__name__}); needs a PIL "
        "image, a tensor (C, H, W) or an array (H, W, C)"
    )
