"""Key `model`: the network, initialised from the run's own stream, as a plan wants it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import ModelPlan
from orchestrator.training import streams
from orchestrator.training.model.architectures import build_architecture, check_architecture
from orchestrator.training.model.initialization import apply_rules, initialize_model
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.load_report import LoadReport
from orchestrator.training.model.meta import copy_to_meta, without_memory
from orchestrator.training.model.weights import load_weights
from orchestrator.training.own_code import is_own_code


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """A network, ready to train, and where its weights come from."""

    model: nn.Module
    load_report: LoadReport | None
    """None where no weights were asked for."""


def build_model(
    plan: ModelPlan,
    *,
    interface: Interface,
    classes: Sequence[str],
    seed: int,
    device: torch.device,
    place: Place,
) -> BuiltModel:
    """Build a network, initialise it, load weights, apply rules, in this order.

    Batch normalisation is left as it is; `convert_batch_norm` lets workers share it.

    Args:
        plan: Key `model`, decided.
        interface: Shapes of the input and the output.
        classes: Names of the data's classes, in the order of their indices; empty if unknown.
        seed: The run's seed; first weights depend on it and on nothing drawn before.
        device: Where the network shall live. Weights are drawn on the CPU, so that they are the
            same on every device.
        place: Where weights and the user's own code lie.

    Raises:
        TrainingError: Whatever of it cannot be done, and its key.
    """
    check_architecture(plan, interface, place)
    streams.seed_global_generators(seed, streams.INITIALIZATION)
    model = build_architecture(plan, interface, place)
    initialize_model(
        model,
        plan.initialization,
        architecture=plan.architecture,
        generator=streams.stream_generator(seed, streams.INITIALIZATION),
    )
    report = None
    if plan.weights is not None:
        report = load_weights(
            model, plan.weights, architecture=plan.architecture, classes=classes, place=place
        )
    apply_rules(model, plan.rules)
    model = model.to(device)
    if plan.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return BuiltModel(model=model, load_report=report)


def describe_on_meta(plan: ModelPlan, *, interface: Interface, place: Place) -> nn.Module:
    """The same network without memory, for what a plan wants to know of it.

    It has the names, shapes and layers of what `build_model` makes; no weight is drawn, read or
    fetched. The user's own network is built on the CPU where it cannot be built so.

    Args:
        plan: Key `model`, decided.
        interface: Shapes of the input and the output.
        place: Where the user's own code lies.

    Raises:
        TrainingError: As `build_model`, of the architecture.
    """
    check_architecture(plan, interface, place)
    with torch.random.fork_rng(devices=[]):
        try:
            with without_memory():
                return build_architecture(plan, interface, place).to("meta")
        except TrainingError:
            if not is_own_code(plan.architecture):
                raise
            # Code that reads what it has just made needs real tensors, or is really at fault.
            return copy_to_meta(build_architecture(plan, interface, place))
