"""torchvision's classification networks, by name, for images of any size and colour."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Final

from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.first_convolution import first_convolution_takes
from orchestrator.training.model.interface import Interface

_DECIDED_ELSEWHERE: Final = {
    "num_classes": "it follows from data",
    "image_size": "it is data.image_size",
    "input_size": "it is data.image_size",
    "weights": "set model.weights",
    "pretrained": "set model.weights",
}


def import_torchvision(architecture: str) -> ModuleType:
    """`torchvision.models`; a machine that trains the small network alone may not have it.

    Raises:
        TrainingError: It is not installed, or does not fit torch.
    """
    try:
        from torchvision import models
    except ImportError as error:
        raise TrainingError(
            f"model.architecture: {architecture} needs torchvision ({error}); "
            "pip install 'orchestrator[vision]', or use small_cnn"
        ) from error
    found: ModuleType = models
    return found


def build_torchvision(
    architecture: str, arguments: Mapping[str, Any], interface: Interface
) -> nn.Module:
    """A network of torchvision, initialised as torchvision does it.

    Auxiliary heads are on, and nothing is done to the pixels, unless the arguments say so.

    Args:
        architecture: As in `torchvision.models.list_models()`.
        arguments: Further arguments of the builder.
        interface: Shapes of the input and the output. The image's size is passed where the
            network depends on it, which are the vision transformers.

    Raises:
        TrainingError: There is no such network or argument.
        Exception: Whatever the builder itself raises on the arguments or the size.
    """
    models = import_torchvision(architecture)
    names = models.list_models(module=models)
    if architecture not in names:
        raise TrainingError(
            f"model.architecture: torchvision has no {architecture!r}"
            f"{_near(architecture, names)}"
        )
    builder = models.get_model_builder(architecture)
    network = inspect.signature(builder).return_annotation
    _check_names(architecture, arguments, builder, network)
    chosen = {**_sizes(network, interface.image_size), **arguments}
    if "init_weights" in inspect.signature(network).parameters:
        # What the builders do unasked, some of them with a warning that they will not for ever.
        chosen.setdefault("init_weights", True)
    with first_convolution_takes(interface.channels):
        model: nn.Module = builder(weights=None, num_classes=interface.num_classes, **chosen)
    return model


def _sizes(network: type[nn.Module], image_size: int) -> dict[str, Any]:
    parameters = inspect.signature(network).parameters
    if "image_size" in parameters:
        return {"image_size": image_size}
    return {"input_size": (image_size, image_size)} if "input_size" in parameters else {}


def _check_names(
    architecture: str,
    arguments: Mapping[str, Any],
    builder: Callable[..., Any],
    network: type[nn.Module],
) -> None:
    """Some networks take any keyword and ignore what they do not know."""
    module = inspect.getmodule(builder)
    taken = _named(network)
    # Between the builder and the class there are functions of their own in some families.
    for _, function in inspect.getmembers(module, inspect.isfunction):
        if inspect.getmodule(function) is module:
            taken |= _named(inspect.unwrap(function))
    for name in arguments:
        if name in _DECIDED_ELSEWHERE:
            raise TrainingError(
                f"model.arguments: {name} cannot be set here; {_DECIDED_ELSEWHERE[name]}"
            )
        if name not in taken:
            raise TrainingError(
                f"model.arguments: {architecture} takes no {name!r}"
                f"{_near(name, sorted(taken - _DECIDED_ELSEWHERE.keys()))}"
            )


def _named(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {entry.name for entry in parameters if entry.kind is not entry.VAR_KEYWORD}


def _near(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
