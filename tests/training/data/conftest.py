"""A plan to vary, a place of one's own, and images of known pixels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan, NormalizePlan, StepPlan
from orchestrator.training.data.image_set import ImageSet, TensorPixels, image_set

MakePlan = Callable[..., DataPlan]
MakePlace = Callable[..., Place]
WriteImage = Callable[..., Path]

_DIGITS = DataPlan(
    dataset="digits",
    arguments={},
    manifest="",
    classes=(),
    num_classes=0,
    channels=1,
    image_size=8,
    batch_size=64,
    train_size=0,
    label_noise=0.0,
    drop_last=False,
    val_share=0.25,
    test_share=0.0,
    sampler="shuffle",
    repeated_augmentation=1,
    train_transforms=(),
    eval_transforms=(),
    normalize=NormalizePlan(by="none", mean=(), std=()),
    mixup=0.0,
    cutmix=0.0,
    mix_off_epoch=None,
    on_corrupt="fail",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Decoded images go to the test's own folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def make_plan() -> MakePlan:
    """Key `data` of the digits, with the fields given; steps as name, or name and arguments."""

    def make(*steps: str | tuple[str, dict[str, Any]], **changes: Any) -> DataPlan:
        named = [(step, {}) if isinstance(step, str) else step for step in steps]
        built = tuple(StepPlan(name=name, arguments=arguments) for name, arguments in named)
        return replace(_DIGITS, **{"train_transforms": built, **changes})

    return make


@pytest.fixture
def make_place() -> MakePlace:
    """A place with the fields given."""

    def make(**changes: Any) -> Place:
        return Place(**{"folder": "", "loader_workers": 0, **changes})

    return make


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Writes an image of noise below `data`; the path decides the format."""

    def write(
        path: str,
        *,
        size: tuple[int, int] = (12, 10),
        mode: str = "RGB",
        seed: int = 0,
        **save: Any,
    ) -> Path:
        file = tmp_path / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(
            0, 256, (size[1], size[0], 3), dtype=np.uint8
        )
        Image.fromarray(noise).convert(mode).save(file, **save)
        return file

    return write


@pytest.fixture
def write_folder(write_image: WriteImage, tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of classes `a` and `b`, PNG files of different pixels."""

    def write(per_class: int = 8, *, extension: str = "png", **image: Any) -> Path:
        for label, name in enumerate("ab"):
            for number in range(per_class):
                seed = label * per_class + number
                write_image(f"{name}/{number}.{extension}", seed=seed, **image)
        return tmp_path / "data"

    return write


@pytest.fixture(scope="session")
def coloured() -> ImageSet:
    """24 images of noise, 3 x 8 x 8, in four classes; ids from 100."""
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(256, (24, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return image_set(TensorPixels(pixels), torch.arange(24) % 4, first_id=100)
