"""timm's networks, as `timm/NAME`, where the optional package timm is installed."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.meta import without_memory

PREFIX: Final = "timm/"

_DECIDED_ELSEWHERE: Final = {
    "num_classes": "it follows from data",
    "in_chans": "it is data.channels",
    "img_size": "it is data.image_size",
    "pretrained": "set model.weights",
    "checkpoint_path": "set model.weights",
}


def import_timm(architecture: str) -> Any:  # noqa: ANN401  a package without annotations
    """The package.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        return import_module("timm")
    except ImportError as error:
        raise TrainingError(
            f"model.architecture: {architecture} needs timm ({error}); "
            "pip install 'orchestrator[timm]'"
        ) from error


def build_timm(
    architecture: str, arguments: Mapping[str, Any], interface: Interface
) -> nn.Module:
    """A network of timm, initialised as timm does it.

    Args:
        architecture: `timm/` and a name as in `timm.list_models()`.
        arguments: Further arguments of `timm.create_model`.
        interface: Shapes of the input and the output. The image's size is passed where the
            network's class takes an `img_size`.

    Raises:
        TrainingError: timm is not installed, or has no such network.
        Exception: Whatever timm raises on the arguments or the size.
    """
    timm = import_timm(architecture)
    name = architecture.removeprefix(PREFIX)
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=1)
        advice = f"; did you mean {PREFIX + near[0]!r}?" if near else ""
        raise TrainingError(f"model.architecture: timm has no {name!r}{advice}")
    for key, reason in _DECIDED_ELSEWHERE.items():
        if key in arguments:
            raise TrainingError(f"model.arguments: {key} cannot be set here; {reason}")
    chosen = {
        "num_classes": interface.num_classes,
        "in_chans": interface.channels,
        **arguments,
    }
    # Its class is known once it is built, here without memory and without drawing a number.
    with torch.random.fork_rng(devices=[]), without_memory():
        network = type(timm.create_model(name, pretrained=False, **chosen))
    if "img_size" in inspect.signature(network).parameters:
        chosen["img_size"] = interface.image_size
    model: nn.Module = timm.create_model(name, pretrained=False, **chosen)
    return model
