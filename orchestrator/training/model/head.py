"""The classifying layers of a network: which they are, and a smaller one in their place."""

import torch
from torch import nn

from orchestrator.errors import TrainingError

Layer = nn.Linear | nn.Conv2d


def find_head(model: nn.Module, num_classes: int | None = None) -> set[str]:
    """Names of the parameters of the classifying layers, auxiliary heads' included.

    timm's networks say which it is. Otherwise it is the last linear or convolutional layer, in
    the order of registration, that gives one score per class, and likewise the last within each
    part whose name begins with `aux`.

    Args:
        model: The network, on any device.
        num_classes: Scores per image; None takes them from the very last layer.

    Raises:
        TrainingError: No layer gives as many scores.
    """
    layers = find_head_layers(model, num_classes)
    found = {id(parameter) for layer in layers for parameter in layer.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in found}


def find_head_layers(model: nn.Module, num_classes: int | None = None) -> list[nn.Module]:
    """The layers themselves; see `find_head`."""
    if callable(classifier := getattr(model, "get_classifier", None)):
        told = classifier()
        # Distilled networks have two.
        return list(told) if isinstance(told, tuple | list) else [told]
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    if num_classes is None and layers:
        num_classes = _outputs(layers[-1][1])
    scoring = [(name, layer) for name, layer in layers if _outputs(layer) == num_classes]
    if not scoring:
        raise TrainingError(
            f"model.architecture: no linear or convolutional layer of {type(model).__name__} "
            f"gives {num_classes} scores, so its head cannot be told; name its parameters in "
            "fine_tune.groups instead"
        )
    parts: dict[str, Layer] = {}
    for name, layer in scoring:
        first = name.split(".")[0].lower()
        parts[first if first.startswith("aux") else ""] = layer
    return list(parts.values())


def pool_before_head(model: nn.Module, *, architecture: str, num_classes: int) -> None:
    """Key `model.head: gap`: pool each feature map to one number, then one linear layer.

    It replaces the fully connected layers of VGG, AlexNet and MobileNetV3. With 1000 classes it
    leaves VGG-16 15.2 of its 138.4 million parameters and AlexNet 2.7 of 61.1.
    Source: Lin et al. 2014, section 3.2, arXiv:1312.4400.

    Args:
        model: The network, changed in place.
        architecture: Its name, for messages.
        num_classes: Scores per image.

    Raises:
        TrainingError: There are no fully connected layers to save.
    """
    pool, classifier = getattr(model, "avgpool", None), getattr(model, "classifier", None)
    dense = [
        layer
        for layer in getattr(classifier, "modules", list)()
        if isinstance(layer, nn.Linear)
    ]
    if len(dense) < 2 or not isinstance(pool, nn.AdaptiveAvgPool2d):
        raise TrainingError(
            f"model.head: {architecture} has no fully connected layers that global average "
            "pooling could replace (got gap); use linear"
        )
    features = dense[0].in_features // _area(pool)
    linear = nn.Linear(features, num_classes, device=dense[0].weight.device)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = linear


def _outputs(layer: Layer) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _area(pool: nn.AdaptiveAvgPool2d) -> int:
    """Pixels that each feature map is pooled to."""
    return nn.functional.adaptive_avg_pool2d(
        torch.zeros(1, 1, 64, 64), pool.output_size
    ).numel()
