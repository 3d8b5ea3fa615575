"""Groups of parameters as people read them: how many, how fast, and from when on."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.param_groups import ParamGroup


def describe_groups(groups: Sequence[ParamGroup], model: nn.Module) -> list[dict[str, Any]]:
    """One row per group: its name, tensors, parameters, rate, decay and first epoch."""
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    return [
        {
            "group": group.name,
            "tensors": len(group.names),
            "parameters": sum(sizes[name] for name in group.names),
            "lr": group.lr,
            "weight_decay": group.weight_decay,
            "first_epoch": group.first_epoch if group.lr > 0 else None,
        }
        for group in groups
    ]


def tabulate_groups(groups: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `describe_groups` as an aligned table."""
    titles = ("group", "tensors", "parameters", "lr", "weight decay", "learns from epoch")
    rows = [titles]
    for group in groups:
        first = group["first_epoch"]
        rows.append(
            (
                str(group["group"]),
                f"{group['tensors']:,}",
                f"{group['parameters']:,}",
                f"{group['lr']:g}",
                f"{group['weight_decay']:g}",
                "never" if first is None else str(first),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    )


def describe_network(model: nn.Module, groups: Sequence[ParamGroup], data: DataPlan) -> str:
    """A network layer by layer, and its groups, as text."""
    from orchestrator.training.model.summary import summarize_model

    summary = summarize_model(model, data.channels, data.image_size)
    return f"{summary.describe()}\n\n{tabulate_groups(describe_groups(groups, model))}"
