"""Keys `optimizer` and `schedule`: torch's own, every argument decided by the plan."""

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from orchestrator.errors import SpecError
from orchestrator.planning.section_plans import OptimizerPlan, SchedulePlan
from orchestrator.training.param_groups import ParamGroup

ONE_CYCLE_WARMUP = 0.3
"""Share of the steps that rise, where no warm-up is given. Source: torch's OneCycleLR."""


def build_optimizer(
    plan: OptimizerPlan, groups: Sequence[ParamGroup], model: nn.Module
) -> Optimizer:
    """The optimizer over every parameter that ever learns, those that wait among them.

    A parameter that waits has no gradient, and torch's optimizers leave what has none alone:
    its state begins with its first step, and nobody else's is lost.

    Args:
        plan: Key `optimizer`, decided.
        groups: Every parameter in one group.
        model: The network whose parameters they name.

    Raises:
        SpecError: torch's optimizer takes no such argument, or not such a value.
    """
    parameters = dict(model.named_parameters())
    learning = [
        {
            "name": group.name,
            "params": [parameters[name] for name in group.names],
            "lr": group.lr,
            "weight_decay": group.weight_decay,
        }
        for group in groups
        if group.lr > 0
    ]
    if not learning:
        raise SpecError(["fine_tune: every learning rate is 0, so that nothing would learn"])
    kind = _optimizer_class(plan.name)
    _check_arguments(plan, kind)
    arguments = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in plan.arguments.items()
    }
    takes = inspect.signature(kind).parameters
    if "weight_decay" not in takes:
        _refuse_weight_decay(plan, learning)
    # One fused kernel per group of tensors where torch has one; the numbers of a device are the
    # same in every run.
    try:
        built: Optimizer = kind(learning, **arguments)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise SpecError([f"optimizer.arguments: torch's {plan.name}: {reason}"]) from error
    return built


def build_schedule(
    plan: SchedulePlan, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int
) -> LRScheduler:
    """A schedule to be stepped after every optimizer step.

    One-cycle leaves the momentum alone: torch would move it between 0.85 and 0.95 whatever
    `optimizer.momentum` says. Source: Smith and Topin 2018, arXiv:1708.07120.

    Args:
        plan: Key `schedule`, decided.
        optimizer: Its groups' rates are the peaks.
        epochs: Passes over the training set.
        steps_per_epoch: Optimizer steps in each.
    """
    total = epochs * steps_per_epoch
    warmup = plan.warmup_epochs * steps_per_epoch
    if plan.name == "one_cycle":
        share = warmup / total if warmup else ONE_CYCLE_WARMUP
        if share * total == 1:
            # torch divides by the steps of a rise that ends where it begins.
            share *= 1 - 1e-12
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=total,
            pct_start=share,
            cycle_momentum=False,
        )
    course = _course(plan, total=total, warmup=warmup, steps_per_epoch=steps_per_epoch)

    def scale(step: int) -> float:
        return (step + 1) / (warmup + 1) if step < warmup else course(step)

    return LambdaLR(optimizer, scale)


def _course(
    plan: SchedulePlan, *, total: int, warmup: float, steps_per_epoch: int
) -> Callable[[int], float]:
    """The factor on the peak rate, step by step, once it has been reached."""
    if plan.name == "step":
        fall = plan.step_epochs * steps_per_epoch
        return lambda step: plan.gamma ** (step // fall)
    if plan.name == "multistep":
        falls = [epoch * steps_per_epoch for epoch in plan.milestones]
        return lambda step: plan.gamma ** bisect_right(falls, step)
    if plan.name == "cosine":
        rest = max(1.0, total - warmup)
        return lambda step: 0.5 * (1 + math.cos(math.pi * (step - warmup) / rest))
    return lambda _: 1.0


def _optimizer_class(name: str) -> Callable[..., Optimizer]:
    known = {
        found.lower(): getattr(torch.optim, found)
        for found in dir(torch.optim)
        if isinstance(getattr(torch.optim, found), type)
    }
    found: Callable[..., Optimizer] = known[name]
    return found


def _check_arguments(plan: OptimizerPlan, kind: Callable[..., Optimizer]) -> None:
    known = [name for name in inspect.signature(kind).parameters if name not in _OWN]
    for name in plan.arguments:
        if name not in known:
            raise SpecError(
                [
                    f"optimizer.arguments.{name}: no such argument; torch's {plan.name} takes "
                    f"{', '.join(known)}"
                ]
            )


_OWN = ("params", "lr", "weight_decay")


def _refuse_weight_decay(plan: OptimizerPlan, groups: list[dict[str, Any]]) -> None:
    decays = [group.pop("weight_decay") for group in groups]
    if any(decays):
        raise SpecError(
            [
                f"optimizer.weight_decay: torch's {plan.name} has none (got {max(decays):g}); "
                "leave it out"
            ]
        )
