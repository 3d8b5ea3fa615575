"""Key `fine_tune`: a small learning rate for the backbone, a large one for the head."""

from typing import Any

from torch import nn

from orchestrator.training.model.build import head_parameters


def build_param_groups(
    model: nn.Module, *, backbone_lr: float, head_lr: float
) -> list[dict[str, Any]]:
    """Every parameter in exactly one group, in the model's order.

    Equal rates make one group, as a hand-written loop would have it.

    Args:
        model: The network.
        backbone_lr: Learning rate of everything but the head.
        head_lr: Learning rate of the final linear layer.

    Returns:
        Groups for an optimizer, each with its `name`.
    """
    if backbone_lr == head_lr:
        return [{"name": "all", "params": list(model.parameters()), "lr": backbone_lr}]
    head = head_parameters(model)
    parts: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        parts[name in head].append(parameter)
    return [
        {"name": "backbone", "params": parts[False], "lr": backbone_lr},
        {"name": "head", "params": parts[True], "lr": head_lr},
    ]
