"""What a training is put together from, as its plan wants it: network, groups, loss."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from orchestrator.planning.run_plan import Numbers, Place
from orchestrator.training.loss import LossFunction, build_loss
from orchestrator.training.model.build import BuiltModel, build_model
from orchestrator.training.model.head import find_head
from orchestrator.training.model.interface import Interface
from orchestrator.training.param_groups import ParamGroup, group_parameters


class Labels(Protocol):
    """What a training must know of the data."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of their indices."""

    @property
    def class_counts(self) -> Sequence[int]:
        """Training images of each class."""


def choose_groups(model: nn.Module, numbers: Numbers, *, num_classes: int) -> list[ParamGroup]:
    """The groups of a network's parameters, as a plan wants them.

    Raises:
        SpecError: They do not cover the network.
        TrainingError: The head is asked for and cannot be told.
    """
    tune = numbers.fine_tune
    needs_head = (
        tune.linear_probe_epochs
        or tune.layer_decay is not None
        or any(group.head for group in tune.groups)
    )
    head = find_head(model, num_classes) if needs_head else set()
    return group_parameters(model, tune, numbers.optimizer, head=head)


def build_network(
    numbers: Numbers, place: Place, data: Labels, device: torch.device
) -> BuiltModel:
    """The network of a run, with its first weights."""
    interface = Interface(
        channels=numbers.data.channels,
        image_size=numbers.data.image_size,
        num_classes=len(data.classes),
    )
    return build_model(
        numbers.model,
        interface=interface,
        classes=data.classes,
        seed=numbers.seed,
        device=device,
        place=place,
    )


def build_run_loss(
    numbers: Numbers, place: Place, data: Labels, device: torch.device
) -> LossFunction:
    """The loss of a run, which may weigh classes by how often they occur."""
    return build_loss(
        numbers.loss,
        num_classes=len(data.classes),
        class_counts=data.class_counts,
        sources=place.sources,
        device=device,
    )
