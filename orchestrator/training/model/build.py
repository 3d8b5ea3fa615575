"""Key `model`: the network, initialised from the run's own stream."""

import torch
from torch import Tensor, nn

from orchestrator.errors import TrainingError
from orchestrator.training import streams

HEAD = "head"
"""Name of the small CNN's final linear layer; torchvision's residual networks call it `fc`."""


class SmallCNN(nn.Module):
    """Three convolutions with batch normalisation for images of 8 to 64 pixels.

    About 15,000 parameters: small enough that a search of dozens of runs takes seconds on CPUs.
    """

    def __init__(self, *, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(channels, 16),
            *_convolution(16, 32),
            nn.MaxPool2d(2),
            *_convolution(32, 32),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Unnormalized class scores (B, num_classes) of float images (B, C, H, W)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def build_model(
    architecture: str, *, channels: int, num_classes: int, seed: int, device: torch.device
) -> nn.Module:
    """A freshly initialised network.

    Args:
        architecture: `small_cnn`, or the name of a torchvision residual network.
        channels: Colour channels of the images.
        num_classes: Length of the output.
        seed: The run's seed; weights depend on it and on nothing drawn before.
        device: Where the network shall live. Weights are drawn on the CPU, so that they are the
            same on every device.
    """
    streams.seed_global_generators(seed, streams.INITIALIZATION)
    if architecture == "small_cnn":
        return SmallCNN(channels=channels, num_classes=num_classes).to(device)
    # A machine that trains the small network alone may have no torchvision.
    try:
        from torchvision.models import get_model
    except ImportError as error:
        raise TrainingError(
            f"model.architecture: {architecture} needs torchvision ({error}); "
            "pip install 'orchestrator[vision]', or use small_cnn"
        ) from error

    model: nn.Module = get_model(architecture, weights=None, num_classes=num_classes)
    return model.to(device)


def head_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters of the final linear layer."""
    head = HEAD if hasattr(model, HEAD) else "fc"
    return {name for name, _ in model.named_parameters() if name.split(".")[0] == head}


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # No bias: batch normalisation has its own.
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
