"""The small network that a search of dozens of runs trains in seconds on CPUs."""

from torch import Tensor, nn


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


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # No bias: batch normalisation has its own.
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
