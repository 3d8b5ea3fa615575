"""Keys `optimizer` and `schedule`: torch's own, every argument decided by the plan."""

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from orchestrator.planning.run_plan import OptimizerPlan, SchedulePlan
from orchestrator.training.param_groups import build_param_groups

ONE_CYCLE_WARMUP = 0.3
"""Share of the steps that rise, where no warm-up is given. Source: torch's OneCycleLR."""


def build_optimizer(plan: OptimizerPlan, model: nn.Module) -> Optimizer:
    """The optimizer over every parameter of the model, grouped by learning rate."""
    groups = build_param_groups(model, backbone_lr=plan.backbone_lr, head_lr=plan.head_lr)
    if plan.name == "sgd":
        return SGD(groups, momentum=plan.momentum, weight_decay=plan.weight_decay)
    return AdamW(groups, weight_decay=plan.weight_decay)


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

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if plan.name == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))

    return LambdaLR(optimizer, scale)
