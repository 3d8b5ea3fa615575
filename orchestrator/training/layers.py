"""How far each parameter lies from the head, in layers: what layer-wise decay counts by."""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn


def layer_distances(model: nn.Module, head: set[str]) -> dict[str, int]:
    """Layers between each parameter and the output; the head's own parameters are at 0.

    A layer is what a network numbers: `layer1.0`, `features.3`, `stages.2.blocks.5`. What comes
    before the first numbered one is the stem, one layer. Normalisations and biases that stand
    alone belong to the layer before them. An auxiliary head branches off, and is no layer of
    what comes before it: what it has beside its own classifying layer is at 1.

    Args:
        model: The network, on any device.
        head: Names of the classifying layers' parameters.
    """
    sizes = {name: tensor.ndim for name, tensor in model.named_parameters()}
    branches = {name for name in sizes if name.lower().startswith("aux")}
    layers = _number_layers((name for name in sizes if name not in head | branches), sizes)
    count = max(layers.values(), default=-1) + 1
    # What branches off is one layer away from its own scores.
    return {name: 0 if name in head else count - layers.get(name, count - 1) for name in sizes}


def _number_layers(names: Iterable[str], dimensions: Mapping[str, int]) -> dict[str, int]:
    """The layer of each parameter, counted from the input."""
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(_layer_of(name), []).append(name)
    layers: dict[str, int] = {}
    current, in_stem = -1, True
    for layer, parameters in members.items():
        weighs = any(dimensions[name] > 1 for name in parameters)
        numbered = _is_numbered(layer)
        if current < 0 or (weighs and not (in_stem and not numbered)):
            current += 1
        in_stem = in_stem and not numbered
        layers |= dict.fromkeys(parameters, current)
    return layers


def _layer_of(name: str) -> str:
    """The part of a name up to its first numbered part, numbers within that included."""
    parts = name.split(".")[:-1]
    for index, part in enumerate(parts):
        if _is_numbered(part):
            inner = index + 1
            while inner < len(parts) and _goes_on(parts, inner):
                inner += 1
            return ".".join(parts[:inner])
    return ".".join(parts)


def _goes_on(parts: Sequence[str], at: int) -> bool:
    """Whether a part still numbers: `layer1.0`, `block1.block1-0`, `stages.0.blocks.1`."""
    part = parts[at]
    return (
        part.isdecimal()
        or part.startswith(f"{parts[at - 1]}-")
        or (part == "blocks" and "".join(parts[at + 1 : at + 2]).isdecimal())
    )


def _is_numbered(name: str) -> bool:
    return re.search(r"\d[a-z]?$", name) is not None
