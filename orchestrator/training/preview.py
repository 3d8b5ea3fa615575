"""What only torch can tell of a plan, before anything starts: sizes, groups, and mistakes.

The network is built on the meta device, so that neither memory nor time is spent on weights;
what would fail in every run fails here, in one line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from orchestrator.errors import OrchestratorError, SpecError, TrainingError
from orchestrator.planning.run_plan import Numbers, Place
from orchestrator.training.data.transforms import Pipeline
from orchestrator.training.footprint import Footprint, measure_footprint
from orchestrator.training.group_table import describe_groups, tabulate_groups
from orchestrator.training.loss import Targets, build_loss
from orchestrator.training.model.build import describe_on_meta
from orchestrator.training.model.initialization import apply_rules, initialize_model
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.summary import ModelSummary, summarize_model
from orchestrator.training.model.sync_batch_norm import check_batch_norm
from orchestrator.training.model.torchvision_weights import find_torchvision_weights
from orchestrator.training.optim import build_optimizer
from orchestrator.training.own_code import is_own_code
from orchestrator.training.param_groups import trainable_names
from orchestrator.training.parts import choose_groups


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A run's network, and how its parameters will learn."""

    architecture: str
    summary: ModelSummary
    trainable: int
    """Parameters that learn in some epoch."""
    groups: tuple[Mapping[str, Any], ...]
    """One row per group; see `describe_groups`."""
    footprint: Footprint

    def rows(self) -> list[tuple[str, str]]:
        """Title and text, as a plan prints them; groups only where there are several."""
        summary = self.summary
        rows = [
            (
                "network",
                f"{summary.parameters:,} parameters, {self.trainable:,} of them learn, "
                f"{summary.multiply_adds / 1e6:,.1f} million multiply-adds per image",
            )
        ]
        if len(self.groups) > 1:
            rows += [("group", _word_group(group)) for group in self.groups]
        return rows

    def table(self) -> str:
        """The groups as an aligned table."""
        return tabulate_groups(self.groups)


def preview_run(numbers: Numbers, place: Place) -> Preview:
    """Build what a run would, without weights, images or steps.

    Args:
        numbers: All that decides it.
        place: Where the user's own code lies.

    Raises:
        TrainingError: The network or a transform cannot be built, or torchvision has no such
            weights; names the key.
        SpecError: The groups do not cover the network, or torch's optimizer takes no such
            argument.
    """
    data, weights = numbers.data, numbers.model.weights
    if weights is not None and not weights.sha256:
        find_torchvision_weights(numbers.model.architecture, weights.source)
    model = describe_network(numbers, place)
    _check_layers(model, numbers)
    groups = choose_groups(model, numbers, num_classes=data.num_classes)
    optimizer = build_optimizer(numbers.optimizer, groups, model)
    if is_own_code(numbers.loss.name):
        _try_loss(numbers, place)
    for steps in (data.train_transforms, data.eval_transforms):
        Pipeline(steps, sources=place.sources)
    last = numbers.training.epochs
    for epoch in range(1, last + 1):
        if not trainable_names(groups, epoch):
            raise SpecError(
                [
                    f"fine_tune: nothing learns in epoch {epoch}; give a group a rate, or let "
                    "something begin in epoch 1"
                ]
            )
    learning = set().union(*(trainable_names(groups, epoch) for epoch in range(1, last + 1)))
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    return Preview(
        architecture=numbers.model.architecture,
        summary=summarize_model(model, data.channels, data.image_size),
        trainable=sum(sizes[name] for name in learning),
        groups=tuple(describe_groups(groups, model)),
        footprint=measure_footprint(model, optimizer, ema=numbers.training.ema is not None),
    )


def _check_layers(model: nn.Module, numbers: Numbers) -> None:
    """Look for the layers that keys of the model ask for."""
    if numbers.model.initialization == "zero_last_bn":
        # Looked for by name; the other ways fit every network.
        initialize_model(
            model,
            "zero_last_bn",
            architecture=numbers.model.architecture,
            generator=torch.Generator(),
        )
    if numbers.model.sync_batch_norm and numbers.world_size > 1:
        check_batch_norm(model)
    apply_rules(model, numbers.model.rules)


def _try_loss(numbers: Numbers, place: Place) -> None:
    """Call the user's own loss once, on scores of two images."""
    classes = numbers.data.num_classes
    name = numbers.loss.name
    loss = build_loss(numbers.loss, num_classes=classes, sources=place.sources)
    scores = torch.zeros(2, classes, requires_grad=True)
    try:
        value = loss(scores, Targets(torch.tensor([0, classes - 1])))
    except OrchestratorError:
        raise
    except Exception as error:
        raise TrainingError(
            f"loss.name: {name} fails ({type(error).__name__}: {error})"
        ) from error
    if not value.requires_grad:
        raise TrainingError(
            f"loss.name: {name} returns a loss that does not depend on the logits, so that "
            "nothing could be learned from it"
        )


def describe_network(numbers: Numbers, place: Place) -> nn.Module:
    """The network of a run on the meta device."""
    data = numbers.data
    interface = Interface(
        channels=data.channels, image_size=data.image_size, num_classes=data.num_classes
    )
    return describe_on_meta(numbers.model, interface=interface, place=place)


def _word_group(group: Mapping[str, Any]) -> str:
    begins = group["first_epoch"]
    rate = f"lr {group['lr']:g}, weight decay {group['weight_decay']:g}"
    if begins is None:
        rate = "frozen"
    elif begins > 1:
        rate = f"{rate}, from epoch {begins}"
    tensors = "1 tensor" if group["tensors"] == 1 else f"{group['tensors']} tensors"
    return f"{group['group']}: {tensors}, {group['parameters']:,} parameters, {rate}"
