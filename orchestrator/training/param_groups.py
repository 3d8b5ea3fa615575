"""Key `fine_tune`: which parameters learn how fast, and from which epoch on.

Names alone are dealt with here, so that the groups of a network can be shown before it exists:
on the meta device, before anything starts. The first rule that takes a parameter has it; a rule
that takes none and a parameter that no rule takes are mistakes, since both mean that something
else was trained than was meant.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from orchestrator.errors import SpecError
from orchestrator.planning.section_plans import FineTunePlan, GroupPlan, OptimizerPlan
from orchestrator.training.layers import layer_distances

_ALL = "all"
_STILL = "frozen by the network itself"
Takes = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class ParamGroup:
    """Parameters that learn alike."""

    name: str
    names: tuple[str, ...]
    """Names of the parameters, in the model's order."""
    lr: float
    """0 where they never learn."""
    weight_decay: float
    first_epoch: int
    """First epoch in which they learn, counted from 1."""

    def learns_in(self, epoch: int) -> bool:
        """Whether the parameters change in an epoch."""
        return self.lr > 0 and epoch >= self.first_epoch


@dataclass(frozen=True)
class _Fate:
    """What is decided for one parameter."""

    group: str
    lr: float
    weight_decay: float
    first_epoch: int


def group_parameters(
    model: nn.Module, plan: FineTunePlan, optimizer: OptimizerPlan, *, head: set[str]
) -> list[ParamGroup]:
    """Every parameter in exactly one group, in the model's order.

    What the network's own code has frozen, such as fixed positions, no rule sees: it stays so.

    Args:
        model: The network, on any device, before its batch normalisation is replaced.
        plan: Key `fine_tune`, decided.
        optimizer: Rate and weight decay where no rule says otherwise.
        head: Names of the classifying layers' parameters.

    Raises:
        SpecError: A rule takes no parameter, a parameter has no rule, or none can learn.
    """
    own = {name: tensor.requires_grad for name, tensor in model.named_parameters()}
    names = [name for name, learns in own.items() if learns]
    if not names:
        raise SpecError(
            [
                f"model.architecture: {type(model).__name__} has no parameters that could "
                "learn; nothing learns"
            ]
        )
    fates = _apply_rules(model, names, plan, optimizer, head)
    fates = _unfreeze_later(fates, plan, head)
    if plan.layer_decay is not None:
        fates = _fall_by_layer(fates, layer_distances(model, head), plan.layer_decay)
    if not optimizer.decay_norm_and_bias:
        flat = {name for name, tensor in model.named_parameters() if tensor.ndim <= 1}
        fates = {
            name: replace(fate, weight_decay=0.0) if name in flat else fate
            for name, fate in fates.items()
        }
    still = _Fate(_STILL, 0.0, 0.0, 1)
    return _gather({name: fates.get(name, still) for name in own})


def trainable_names(groups: Sequence[ParamGroup], epoch: int) -> set[str]:
    """Names of the parameters that learn in an epoch."""
    return {name for group in groups if group.learns_in(epoch) for name in group.names}


def _apply_rules(
    model: nn.Module,
    names: list[str],
    plan: FineTunePlan,
    optimizer: OptimizerPlan,
    head: set[str],
) -> dict[str, _Fate]:
    if not plan.groups:
        return {name: _Fate(_ALL, optimizer.lr, optimizer.weight_decay, 1) for name in names}
    taken: dict[str, GroupPlan] = {}
    for number, rule in enumerate(plan.groups, start=1):
        takes = _matcher(model, rule, head)
        matched = [name for name in names if takes(name)]
        free = [name for name in matched if name not in taken]
        if not free:
            raise _nothing_taken(number, rule, bool(matched), names)
        taken |= dict.fromkeys(free, rule)
    missed = [name for name in names if name not in taken]
    if missed:
        raise SpecError(
            [
                f"fine_tune.groups: {len(missed)} parameters match no rule, such as "
                f"{missed[0]!r}; end the list with {{match: '.*'}}"
            ]
        )
    return {
        name: _Fate(taken[name].name, taken[name].lr, taken[name].weight_decay, 1)
        for name in names
    }


def _matcher(model: nn.Module, rule: GroupPlan, head: set[str]) -> Takes:
    if rule.head:
        return head.__contains__
    if rule.match is not None:
        pattern = re.compile(rule.match)
        return lambda name: pattern.search(name) is not None
    if rule.type is None:
        return lambda _: True
    wanted = rule.type
    owners = {name: type(layer).__mro__ for name, layer in model.named_modules()}
    return lambda name: any(kind.__name__ == wanted for kind in owners[name.rpartition(".")[0]])


def _nothing_taken(number: int, rule: GroupPlan, shadowed: bool, names: list[str]) -> SpecError:
    what = f"rule {number}, {rule.match or rule.type or rule.name!r},"
    if shadowed:
        text = f"{what} takes no parameter: earlier rules have all that it matches"
    else:
        text = f"{what} matches no parameter; names are such as {names[0]!r} and {names[-1]!r}"
    return SpecError([f"fine_tune.groups: {text}"])


def _unfreeze_later(
    fates: Mapping[str, _Fate], plan: FineTunePlan, head: set[str]
) -> dict[str, _Fate]:
    """Put off what learns from a later epoch on."""
    later = dict(fates)
    if plan.linear_probe_epochs:
        for name in fates.keys() - head:
            later[name] = replace(fates[name], first_epoch=plan.linear_probe_epochs + 1)
    free = set(fates)
    for number, rule in enumerate(plan.unfreeze, start=1):
        matched = {name for name in free if re.search(rule.match, name)}
        if not matched:
            text = f"rule {number}, {rule.match!r}, matches no parameter that is left"
            raise SpecError([f"fine_tune.unfreeze: {text}"])
        free -= matched
        for name in matched:
            later[name] = _Fate(
                f"{rule.match} (epoch {rule.epoch})",
                rule.lr,
                fates[name].weight_decay,
                rule.epoch,
            )
    return later


def _fall_by_layer(
    fates: Mapping[str, _Fate], distances: Mapping[str, int], decay: float
) -> dict[str, _Fate]:
    return {
        name: replace(
            fate,
            group=f"{fate.group}, {distances[name]} before the head"
            if distances[name]
            else fate.group,
            lr=fate.lr * decay ** distances[name],
        )
        for name, fate in fates.items()
    }


def _gather(fates: Mapping[str, _Fate]) -> list[ParamGroup]:
    members: dict[_Fate, list[str]] = {}
    for name, fate in fates.items():
        members.setdefault(fate, []).append(name)
    return [
        ParamGroup(
            name=fate.group,
            names=tuple(names),
            lr=fate.lr,
            weight_decay=fate.weight_decay,
            first_epoch=fate.first_epoch,
        )
        for fate, names in members.items()
    ]
