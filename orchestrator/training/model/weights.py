"""Trained weights into a network, in place of random ones, and an account of what fitted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import WeightsPlan
from orchestrator.training.model.first_convolution import (
    RGB,
    adapt_rgb_weight,
    find_first_convolution,
)
from orchestrator.training.model.head import find_head
from orchestrator.training.model.load_report import LeftOut, LoadReport, ShapeMismatch
from orchestrator.training.model.torchvision_weights import load_torchvision_weights
from orchestrator.training.model.weights_file import list_names, read_tensors, strip_prefixes

CLASSES_FILE = "classes.json"
"""Beside a run's weights: the names of its classes, in the order of their indices."""

_POSITIONS = "encoder.pos_embedding"


def load_weights(
    model: nn.Module,
    plan: WeightsPlan,
    *,
    architecture: str,
    classes: Sequence[str],
    place: Place,
) -> LoadReport:
    """Load what a plan names.

    Where a `classes.json` lies beside the file and names other classes, or the same in another
    order, the head is not loaded: its rows would mean something else.

    Args:
        model: The network, on the CPU, changed in place.
        plan: Which weights, and how much of them must fit.
        architecture: The network's name, for torchvision's weights.
        classes: Names of the data's classes, in the order of their indices; empty if unknown.
        place: Where the file lies; without one the weights are torchvision's.

    Raises:
        TrainingError: The weights cannot be found or read, or too little of them fits.
    """
    reason = ""
    if place.weights:
        path = Path(place.weights)
        tensors = read_tensors(path, sha256=plan.sha256)
        reason = _other_classes(path.with_name(CLASSES_FILE), classes)
    else:
        tensors = load_torchvision_weights(architecture, plan.source)
    report = fit_tensors(
        model, tensors, source=plan.source, head_reason=reason, num_classes=len(classes) or None
    )
    if plan.strict and not report.is_complete:
        raise TrainingError(
            f"model.weights: {plan.source} and {architecture} do not agree in every tensor "
            f"({report.first_differences()}); set model.strict: false to load the rest"
        )
    if report.share < plan.min_loaded:
        raise TrainingError(
            f"model.weights: {report.share:.1%} of the parameters of {architecture} are in "
            f"{plan.source}, and model.min_loaded asks for {plan.min_loaded:.1%} "
            f"({report.first_differences()}); is it another network's?"
        )
    return report


def fit_tensors(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    head_reason: str = "",
    num_classes: int | None = None,
) -> LoadReport:
    """Copy every tensor that fits by name and shape into a network.

    A first convolution over RGB and the positions of a vision transformer are fitted to the
    network's channels and image size first.

    Args:
        model: The network, changed in place.
        tensors: By name, with or without the prefixes that wrappers put before them.
        source: Where they come from, for the report.
        head_reason: Why the head is not to be loaded; empty to load it.
        num_classes: Scores per image, by which the head is told; None takes the last layer.

    Raises:
        TrainingError: The head is not to be loaded, and cannot be told.
    """
    own = _own_tensors(model)
    found = strip_prefixes(tensors, set(own))
    adapted = [*_adapt_channels(model, found), *_adapt_positions(model, found)]
    head = _find_head(model, num_classes, reason=head_reason)
    common = [name for name in own if name in found]
    left_out = {name for name in common if head_reason and name in head}
    wrong = [name for name in common if found[name].shape != own[name].shape]
    matched = [name for name in common if name not in left_out and name not in wrong]
    model.load_state_dict({name: found[name] for name in matched}, strict=False)
    loaded = {id(own[name]) for name in matched}
    unequal_head = head if left_out or head.intersection(wrong) else set()
    return LoadReport(
        source=source,
        matched=tuple(matched),
        missing=tuple(name for name in own if name not in found and _counts(name, own, loaded)),
        unexpected=tuple(name for name in found if name not in own),
        shape_mismatch=tuple(
            ShapeMismatch(
                name=name, found=tuple(found[name].shape), expected=tuple(own[name].shape)
            )
            for name in wrong
            if name not in left_out
        ),
        left_out=tuple(LeftOut(name=name, why=head_reason) for name in own if name in left_out),
        adapted=tuple(adapted),
        share=_share(model, loaded, unequal_head),
    )


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers themselves; a layer may keep other things in its state."""
    state = model.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _counts(name: str, own: Mapping[str, Tensor], loaded: set[int]) -> bool:
    """Shared tensors have a second name, and old files do not count batches."""
    return id(own[name]) not in loaded and not name.endswith("num_batches_tracked")


def _share(model: nn.Module, loaded: set[int], unequal_head: set[str]) -> float:
    counted = [value for name, value in model.named_parameters() if name not in unequal_head]
    total = sum(value.numel() for value in counted)
    part = sum(value.numel() for value in counted if id(value) in loaded)
    return part / total if total else 0.0


def _find_head(model: nn.Module, num_classes: int | None, *, reason: str) -> set[str]:
    """Names of the head's parameters; none where it cannot be told and need not be left out."""
    try:
        return find_head(model, num_classes)
    except TrainingError as error:
        if not reason:
            return set()
        raise TrainingError(
            f"model.weights: {reason}, and no layer of {type(model).__name__} can be told to "
            "be the head that must be left out; load a file of the other layers alone, without "
            "a classes.json beside it"
        ) from error


def _adapt_channels(model: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    first = find_first_convolution(model)
    if first is None:
        return []
    name, layer = f"{first[0]}.weight", first[1]
    weight = tensors.get(name)
    channels = layer.in_channels
    if weight is None or weight.dim() != 4 or weight.shape[1] != RGB or channels == RGB:
        return []
    tensors[name] = adapt_rgb_weight(weight, channels)
    return [f"{name}: from RGB to {channels} channel{'s' if channels > 1 else ''}"]


def _adapt_positions(model: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    """Vision transformers of torchvision learn one vector per patch of one image size."""
    positions = tensors.get(_POSITIONS)
    own: Any = model.state_dict().get(_POSITIONS)
    image_size: Any = getattr(model, "image_size", None)
    patch_size: Any = getattr(model, "patch_size", None)
    if positions is None or own is None or not image_size or not patch_size:
        return []
    if positions.shape == own.shape or positions.shape[-1] != own.shape[-1]:
        return []
    from torchvision.models.vision_transformer import interpolate_embeddings

    state = {_POSITIONS: positions.float()}
    try:
        tensors[_POSITIONS] = interpolate_embeddings(image_size, patch_size, state)[_POSITIONS]
    except ValueError:  # not one vector per patch of a square: reported as another shape
        return []
    return [f"{_POSITIONS}: from {positions.shape[1]} to {own.shape[1]} positions"]


def _other_classes(path: Path, classes: Sequence[str]) -> str:
    """Why the head of a file does not fit the data's classes; empty where it does."""
    if not classes or not path.is_file():
        return ""
    try:
        there: Any = json.loads(path.read_text(encoding="utf-8"))
        # A list of names, or a map from name to index.
        names = sorted(there, key=there.__getitem__) if isinstance(there, dict) else list(there)
    except (ValueError, TypeError) as error:
        raise TrainingError(
            f"model.weights: {path} is no list of class names ({error}); write it anew, or "
            "remove it to load the head as it is"
        ) from error
    if names == list(classes):
        return ""
    return (
        f"the classes differ ({list_names(tuple(map(str, names)), 3)} there, "
        f"{list_names(tuple(classes), 3)} here)"
    )
