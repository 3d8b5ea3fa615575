"""Names of networks to networks, and the sizes of images that these can take."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import ModelPlan
from orchestrator.training.model.head import pool_before_head
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.meta import meta_images, without_memory
from orchestrator.training.model.own_model import build_own, check_own
from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.model.timm_models import PREFIX, build_timm, import_timm
from orchestrator.training.model.torchvision_models import build_torchvision, import_torchvision
from orchestrator.training.own_code import is_own_code, load_callable

SMALL_CNN: Final = "small_cnn"
_SMALLEST_FOR_SMALL_CNN: Final = 2  # it halves the image once
_LARGEST_TRIED: Final = 1024
_STRIDE: Final = 32  # of most networks, from the image to the last feature map


def check_architecture(plan: ModelPlan, interface: Interface, place: Place) -> None:
    """Import what a network is made of, and try torchvision's and timm's without memory.

    Each is tried once per process and setting. It comes before anything is drawn or moved to
    the meta device, since an import may do either for itself.

    Raises:
        TrainingError: The import failed, or the network does not take its arguments or such
            images; then the sizes that it takes.
    """
    if is_own_code(plan.architecture):
        load_callable(plan.architecture, key="model.architecture", sources=place.sources)
        return
    if plan.architecture == SMALL_CNN:
        return
    if plan.architecture.startswith(PREFIX):
        import_timm(plan.architecture)
    else:
        import_torchvision(plan.architecture)
    _try_image_size(plan.architecture, json.dumps(dict(plan.arguments)), interface)


def build_architecture(plan: ModelPlan, interface: Interface, place: Place) -> nn.Module:
    """The network that a plan names, initialised as its family does it; checked before.

    Args:
        plan: Its name, arguments and head.
        interface: Shapes of the input and the output.
        place: Where the user's own code lies.

    Raises:
        TrainingError: There is no such network, or its scores have another shape.
    """
    if is_own_code(plan.architecture):
        model = build_own(plan.architecture, plan.arguments, interface, sources=place.sources)
        _exchange_head(model, plan, interface)
        check_own(model, plan.architecture, interface)
        return model
    if plan.architecture == SMALL_CNN:
        return _build_small_cnn(plan, interface)
    model = _build_from_library(plan.architecture, plan.arguments, interface)
    _exchange_head(model, plan, interface)
    return model


@lru_cache(maxsize=256)
def _try_image_size(architecture: str, arguments_json: str, interface: Interface) -> None:
    arguments: dict[str, Any] = json.loads(arguments_json)
    error = _try(architecture, arguments, interface)
    if error is None:
        return
    refused = TrainingError(
        f"model.arguments: {architecture} refuses {arguments_json} "
        f"({type(error).__name__}: {error})"
    )
    if isinstance(error, TypeError) and arguments:
        raise refused from error
    size = interface.image_size
    taken = _next_size(architecture, arguments, interface)
    if taken is None and arguments:
        raise refused from error
    if taken is None:
        raise TrainingError(
            f"data.image_size: {architecture} cannot take {size} pixels "
            f"({type(error).__name__}: {error})"
        ) from error
    above = _with_size(interface, taken + 1)
    if _try(architecture, arguments, above) is None:
        text = f"{architecture} needs at least {taken} pixels (got {size})"
    else:
        text = (
            f"{architecture} cannot take {size} pixels; the next size that it takes is {taken}"
        )
    raise TrainingError(f"data.image_size: {text}{_advice(architecture, arguments, interface)}")


def _next_size(
    architecture: str, arguments: Mapping[str, Any], interface: Interface
) -> int | None:
    """The smallest larger size, found by trying: every one of the nearest, then by strides."""
    near = range(interface.image_size, interface.image_size + _STRIDE // 2 + 1)
    far = range((near[-1] // _STRIDE + 1) * _STRIDE, _LARGEST_TRIED + 1, _STRIDE)
    for below, size in pairwise([*near, *far]):
        if _try(architecture, arguments, _with_size(interface, size)) is None:
            between: Iterator[int] = iter(range(below + 1, size))
            fits = (
                at
                for at in between
                if _try(architecture, arguments, _with_size(interface, at)) is None
            )
            return next(fits, size)
    return None


def _advice(architecture: str, arguments: Mapping[str, Any], interface: Interface) -> str:
    """Inception's auxiliary head alone asks for large images."""
    if architecture != "inception_v3" or arguments.get("aux_logits") is False:
        return ""
    alone = {**arguments, "aux_logits": False}
    if _try(architecture, alone, interface) is None:
        return "; or set model.arguments.aux_logits: false"
    taken = _next_size(architecture, alone, interface)
    return f"; with model.arguments.aux_logits: false, {taken} are enough"


def _try(
    architecture: str, arguments: Mapping[str, Any], interface: Interface
) -> Exception | None:
    """Build and run a network without memory, as in training; what it raised, if it did."""
    try:
        with without_memory():
            model = _build_from_library(architecture, arguments, interface)
        model = model.to("meta").train()
        with torch.no_grad():
            model(meta_images(interface.channels, interface.image_size))
    except TrainingError:
        raise
    except Exception as error:  # noqa: BLE001  libraries raise what they like on a size
        return error
    return None


def _build_from_library(
    architecture: str, arguments: Mapping[str, Any], interface: Interface
) -> nn.Module:
    if architecture.startswith(PREFIX):
        return build_timm(architecture, arguments, interface)
    return build_torchvision(architecture, arguments, interface)


def _build_small_cnn(plan: ModelPlan, interface: Interface) -> nn.Module:
    if plan.arguments:
        raise TrainingError(
            f"model.arguments: small_cnn takes none (got {', '.join(plan.arguments)})"
        )
    if interface.image_size < _SMALLEST_FOR_SMALL_CNN:
        raise TrainingError(
            f"data.image_size: small_cnn needs at least {_SMALLEST_FOR_SMALL_CNN} pixels "
            f"(got {interface.image_size})"
        )
    model = SmallCNN(channels=interface.channels, num_classes=interface.num_classes)
    _exchange_head(model, plan, interface)
    return model


def _exchange_head(model: nn.Module, plan: ModelPlan, interface: Interface) -> None:
    if plan.head == "gap":
        if "dropout" in plan.arguments and not is_own_code(plan.architecture):
            raise TrainingError(
                "model.arguments: dropout acts between the fully connected layers that "
                "model.head: gap takes away; leave it out"
            )
        pool_before_head(
            model, architecture=plan.architecture, num_classes=interface.num_classes
        )


def _with_size(interface: Interface, image_size: int) -> Interface:
    return Interface(
        channels=interface.channels, image_size=image_size, num_classes=interface.num_classes
    )
