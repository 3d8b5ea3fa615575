"""Keys `optimizer` and `fine_tune`, decided: which parameters learn at which rate."""

import math
from typing import Final

from orchestrator.planning.section_plans import (
    FineTunePlan,
    GroupPlan,
    OptimizerPlan,
    UnfreezePlan,
)
from orchestrator.specs.experiment import Keys
from orchestrator.specs.fine_tune_section import FineTuneSpec, GroupRule
from orchestrator.specs.names import WITH_MOMENTUM, WITHOUT_WEIGHT_DECAY
from orchestrator.specs.training_sections import OptimizerSpec

DEFAULT_LR: Final = {"sgd": 0.1, "asgd": 0.1, "adadelta": 1.0, "adagrad": 0.01, "rprop": 0.01}
USUAL_LR: Final = 0.001
"""Learning rate of every other optimizer where none is asked for."""
DEFAULT_MOMENTUM: Final = {"sgd": 0.9, "rmsprop": 0.0}


def resolve_optimizer(optimizer: OptimizerSpec, *, batch_size: int) -> OptimizerPlan:
    """Decide the optimizer, its base rate scaled with the batch where that was asked for."""
    lr = optimizer.lr
    if lr is None:
        lr = DEFAULT_LR.get(optimizer.name, USUAL_LR)
    arguments = dict(optimizer.arguments)
    if optimizer.name in WITH_MOMENTUM:
        momentum = optimizer.momentum
        arguments["momentum"] = (
            DEFAULT_MOMENTUM[optimizer.name] if momentum is None else momentum
        )
    return OptimizerPlan(
        name=optimizer.name,
        lr=lr * lr_scale(optimizer, batch_size=batch_size),
        weight_decay=0.0 if optimizer.name in WITHOUT_WEIGHT_DECAY else optimizer.weight_decay,
        decay_norm_and_bias=optimizer.decay_norm_and_bias,
        arguments=arguments,
    )


def lr_scale(optimizer: OptimizerSpec, *, batch_size: int) -> float:
    """The factor on all learning rates. Source: Goyal et al. 2017, arXiv:1706.02677."""
    ratio = batch_size / optimizer.reference_batch_size
    return {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[optimizer.scale_lr]


def resolve_fine_tune(keys: Keys, optimizer: OptimizerPlan) -> FineTunePlan:
    """Decide the groups of parameters; none where all learn alike."""
    tune = keys.fine_tune or FineTuneSpec()
    scale = lr_scale(keys.optimizer, batch_size=keys.data.batch_size)
    return FineTunePlan(
        groups=_resolve_groups(tune, optimizer, scale),
        layer_decay=tune.layer_decay,
        linear_probe_epochs=tune.linear_probe_epochs,
        unfreeze=tuple(
            UnfreezePlan(epoch=rule.epoch, match=rule.match, lr=rule.lr * scale)
            for rule in tune.unfreeze or ()
        ),
    )


def _resolve_groups(
    tune: FineTuneSpec, optimizer: OptimizerPlan, scale: float
) -> tuple[GroupPlan, ...]:
    decay = optimizer.weight_decay
    if tune.backbone_lr is not None and tune.head_lr is not None:
        rates = (("head", tune.head_lr), ("backbone", tune.backbone_lr))
        return tuple(
            GroupPlan(
                name=name,
                match=None,
                type=None,
                head=name == "head",
                lr=lr * scale,
                weight_decay=decay,
            )
            for name, lr in rates
        )
    return tuple(
        GroupPlan(
            name=rule.match or rule.type or "",
            match=rule.match,
            type=rule.type,
            head=False,
            lr=_rate(rule, optimizer, scale),
            weight_decay=decay if rule.weight_decay is None else rule.weight_decay,
        )
        for rule in tune.groups or ()
    )


def _rate(rule: GroupRule, optimizer: OptimizerPlan, scale: float) -> float:
    if rule.freeze:
        return 0.0
    if rule.lr is not None:
        return rule.lr * scale
    return optimizer.lr * (1.0 if rule.lr_mult is None else rule.lr_mult)
