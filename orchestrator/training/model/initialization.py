"""The weights that a network starts from before any are loaded, and after: rules."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import TensorRulePlan
from orchestrator.training.model.weights_file import list_names, read_tensor

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_Norm = _BatchNorm | nn.GroupNorm | nn.LayerNorm

_BRANCHES: Final = {
    "BasicBlock": "bn2",
    "Bottleneck": "bn3",
    "ResBottleneckBlock": "f",
    "InvertedResidual": "conv block",
    "_InvertedResidual": "layers",
    "MBConv": "block",
    "FusedMBConv": "block",
}
"""Class of a residual block to the attributes that may hold its branch, whose last batch
normalisation counts. ResNet and its kin, RegNet, MobileNet, MNASNet, EfficientNet."""

_HAS_SHORTCUT: Final = ("use_res_connect", "apply_residual")
"""Flags of blocks that are residual only where the shapes allow it."""


def initialize_model(
    model: nn.Module, how: str, *, architecture: str, generator: torch.Generator
) -> None:
    """Key `model.initialization`; `default` leaves a network as its builder made it.

    `kaiming`: convolutions normal with variance 2/fan_out (He et al. 2015, section 2.2,
    arXiv:1502.01852), linear layers uniform (Glorot and Bengio 2010, equation 16),
    normalisation 1 and 0, biases 0. Parameters that belong to none of these, such as positions
    and the joint projection of attention, stay as they are.

    `zero_last_bn`: the last normalisation of each residual branch is multiplied by 0, so that
    each block begins as its shortcut (Goyal et al. 2017, section 5.1, arXiv:1706.02677).

    Args:
        model: The network, on the CPU, changed in place.
        how: `default`, `kaiming` or `zero_last_bn`.
        architecture: Its name, for messages.
        generator: What `kaiming` draws from.

    Raises:
        TrainingError: `zero_last_bn` found no residual branch.
    """
    if how == "kaiming":
        with torch.no_grad():
            for layer in model.modules():
                _initialize_layer(layer, generator)
    if how == "zero_last_bn":
        _zero_last_norms(model, architecture)


def apply_rules(model: nn.Module, rules: Sequence[TensorRulePlan]) -> None:
    """Key `model.rules`: set parameters to given tensors, one rule after the other.

    Args:
        model: The network, on the CPU, changed in place.
        rules: Each sets every parameter whose name its expression is found in.

    Raises:
        TrainingError: A rule matches no parameter, its tensor is missing or has another shape.
    """
    parameters = dict(model.named_parameters())
    for at, rule in enumerate(rules):
        key = f"model.rules.{at}"
        tensor = read_tensor(Path(rule.file), rule.key, sha256=rule.sha256, key=key)
        names = _matching(rule.match, tuple(parameters), key=key)
        for name in names:
            _set_parameter(parameters[name], tensor, name=name, key=key)


def _initialize_layer(layer: nn.Module, generator: torch.Generator) -> None:
    if isinstance(layer, _Convolution):
        nn.init.kaiming_normal_(
            layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
        )
    elif isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight, generator=generator)
    elif isinstance(layer, _Norm):
        if layer.weight is not None:
            nn.init.ones_(layer.weight)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _zero_last_norms(model: nn.Module, architecture: str) -> None:
    norms = list(_last_norms(model))
    if not norms:
        raise TrainingError(
            f"model.initialization: {architecture} has no residual branch that is known to end "
            "in batch normalisation (got zero_last_bn); use default or kaiming"
        )
    for norm in norms:
        nn.init.zeros_(norm.weight)


def _last_norms(model: nn.Module) -> Iterator[_BatchNorm]:
    for block in model.modules():
        if not all(getattr(block, flag, True) for flag in _HAS_SHORTCUT):
            continue
        for attribute in _BRANCHES.get(type(block).__name__, "").split():
            branch = getattr(block, attribute, None)
            inside = branch.modules() if isinstance(branch, nn.Module) else ()
            norms = [
                layer for layer in inside if isinstance(layer, _BatchNorm) and layer.affine
            ]
            if norms:
                yield norms[-1]


def _matching(expression: str, names: tuple[str, ...], *, key: str) -> list[str]:
    try:
        found = [name for name in names if re.search(expression, name)]
    except re.error as error:
        raise TrainingError(
            f"{key}.match: {expression!r} is no regular expression ({error})"
        ) from error
    if not found:
        raise TrainingError(
            f"{key}.match: no parameter's name matches {expression!r}; "
            f"there are {list_names(names, 10)}"
        )
    return found


def _set_parameter(parameter: Tensor, tensor: Tensor, *, name: str, key: str) -> None:
    if parameter.shape != tensor.shape:
        raise TrainingError(
            f"{key}: {name} has shape {tuple(parameter.shape)}, and its tensor "
            f"{tuple(tensor.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(tensor)
