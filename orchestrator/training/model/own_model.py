"""The user's own network: `module:callable`, from the folder that travels with a search."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.interface import Interface
from orchestrator.training.own_code import load_callable


def build_own(
    reference: str, arguments: Mapping[str, Any], interface: Interface, *, sources: str
) -> nn.Module:
    """Call the user's callable.

    It is given `num_classes`, also `channels` and `image_size` where its signature names them,
    and the arguments.

    Args:
        reference: `module:callable`.
        arguments: Further arguments.
        interface: Shapes of the input and the output.
        sources: Folder that is searched before installed packages; empty for none.

    Raises:
        TrainingError: It cannot be imported or called so, or returns no network.
    """
    make = load_callable(reference, key="model.architecture", sources=sources)
    given = _given(make, interface)
    for name in arguments:
        if name in given:
            raise TrainingError(
                f"model.arguments: {name} cannot be set here; it follows from data"
            )
    try:
        model = make(**given, **arguments)
    except Exception as error:
        raise TrainingError(
            f"model.arguments: {reference} cannot be called with "
            f"{', '.join([*given, *arguments])} ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(model, nn.Module):
        raise TrainingError(
            f"model.architecture: {reference} returned a {type(model).__name__}; "
            "return a torch.nn.Module"
        )
    return model


def check_own(model: nn.Module, reference: str, interface: Interface) -> None:
    """Try a network on a batch of two black images, in evaluation mode.

    It also gives lazy layers their shapes. The global generator is left as it was.

    Raises:
        TrainingError: It cannot take them, or does not give float scores (2, num_classes).
    """
    images = torch.zeros(2, interface.channels, interface.image_size, interface.image_size)
    training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            scores: Any = model(images)
    except Exception as error:
        raise TrainingError(
            f"model.architecture: {reference} cannot take images of shape "
            f"{tuple(images.shape)} ({type(error).__name__}: {error})"
        ) from error
    model.train(training)
    expected = (2, interface.num_classes)
    if not isinstance(scores, Tensor):
        raise TrainingError(
            f"model.architecture: {reference} gave a {type(scores).__name__} for images of "
            f"shape {tuple(images.shape)}; return one float tensor of shape {expected}"
        )
    if tuple(scores.shape) != expected or not scores.is_floating_point():
        raise TrainingError(
            f"model.architecture: {reference} gave {scores.dtype} of shape "
            f"{tuple(scores.shape)} for images of shape {tuple(images.shape)}; return one "
            f"float tensor of shape {expected}"
        )


def _given(make: Callable[..., Any], interface: Interface) -> dict[str, int]:
    given = {"num_classes": interface.num_classes}
    try:
        parameters = inspect.signature(make).parameters
    except ValueError:  # some callables written in C have no signature
        return given
    for name in ("channels", "image_size"):
        if name in parameters:
            given[name] = getattr(interface, name)
    return given
