"""Plans of networks, and places for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import ModelPlan
from orchestrator.training.model.build import BuiltModel, build_model
from orchestrator.training.model.interface import Interface

_PLAIN = ModelPlan(
    architecture="small_cnn",
    arguments={},
    head="linear",
    weights=None,
    initialization="default",
    rules=(),
    sync_batch_norm=False,
    channels_last=False,
)


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., ModelPlan]:
    """Builds the plan of a network; keywords are the fields to replace."""

    def make(architecture: str = "small_cnn", **changes: Any) -> ModelPlan:
        return replace(_PLAIN, architecture=architecture, **changes)

    return make


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A run in the test's own folder, where the user's modules lie too."""
    return Place(folder=str(tmp_path), loader_workers=0, sources=str(tmp_path))


@pytest.fixture
def build(make_plan: Callable[..., ModelPlan], place: Place) -> Callable[..., BuiltModel]:
    """Builds a network of ten classes on the CPU; other keywords are fields of its plan."""

    def make(
        architecture: str = "small_cnn",
        *,
        channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
        seed: int = 0,
        classes: tuple[str, ...] = (),
        weights_file: str = "",
        **changes: Any,
    ) -> BuiltModel:
        return build_model(
            make_plan(architecture, **changes),
            interface=Interface(
                channels=channels, image_size=image_size, num_classes=num_classes
            ),
            classes=classes,
            seed=seed,
            device=torch.device("cpu"),
            place=replace(place, weights=weights_file),
        )

    return make


@pytest.fixture
def residual_network() -> nn.Module:
    """One convolution and two normalisations of which the second ends a known branch."""

    class BasicBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    return nn.Sequential(nn.Conv2d(3, 4, 3), BasicBlock())
