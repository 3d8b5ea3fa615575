"""What the data demand of a network: what it takes, and what it gives."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interface:
    """Shapes of a network's input (B, channels, image_size, image_size) and output."""

    channels: int
    image_size: int
    """Height and width in pixels."""
    num_classes: int
    """Scores per image."""
