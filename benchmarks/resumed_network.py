"""The network that `benchmarks/resume.py` trains: with dropout, and a count of its steps.

Every forward pass in training appends a byte to the file that COUNT_STEPS names, so that each
tool's steps are counted alike, those that it takes twice too.
"""

import os

from torch import Tensor, nn


class Counted(nn.Sequential):
    """A small convolutional network for images (B, 1, 8, 8)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(16 * 4 * 4, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (B, C)."""
        # The first call, in which tools look at a network, is none of a training.
        if self.training and images.device.type != "meta" and len(images) > 2:
            with open(os.environ["COUNT_STEPS"], "ab") as file:  # noqa: PTH123  the quickest
                file.write(b".")
        scores: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return scores
