"""How far each parameter lies from the head, in layers: what layer-wise decay counts by."""

import re
from collections.abc import Iterable, Mapping

from torch import nn


def layer_distances(model: nn.Module, head: set[str]) -> dict[str, int]:
    """Layers between each parameter and the output; the head's own parameters are at 0.

    A layer is what a network numbers: `layer1.0`, `features.3`, `encoder_layer_7`. What comes
    before the first numbered one is the stem, one layer. Normalisations and biases that stand
    alone belong to the layer before them.

    Args:
        model: The network, on any device.
        head: Names of the classifying layers' parameters.
    """
    sizes = {name: tensor.ndim for name, tensor in model.named_parameters()}
    layers = _number_layers((name for name in sizes if name not in head), sizes)
    count = max(layers.values(), default=-1) + 1
    return {name: 0 if name in head else count - layers[name] for name in sizes}


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
            while inner < len(parts) and parts[inner].isdecimal():
                inner += 1
            return ".".join(parts[:inner])
    return ".".join(parts)


def _is_numbered(name: str) -> bool:
    return re.search(r"\d[a-z]?$", name) is not None
