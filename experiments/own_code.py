"""One's own network, data set and loss: what own-model.yaml and its neighbours name.

Nothing of the tool is imported here; these are plain PyTorch and scikit-learn.
"""

import numpy as np
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset


class Perceptron(nn.Module):
    """Two fully connected layers; `width` and `dropout` come from `model.arguments`."""

    def __init__(
        self,
        *,
        width: int,
        dropout: float = 0.0,
        num_classes: int,
        channels: int,
        image_size: int,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * image_size**2, width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (B, num_classes) of images (B, channels, image_size, image_size)."""
        scores: Tensor = self.head(self.body(images))
        return scores


class Digits(Dataset[tuple[np.ndarray, int]]):
    """Scanned digits as (8, 8) arrays of bytes with their labels."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = np.rint(images * (255 / 16)).astype(np.uint8)
        self.targets = labels.tolist()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """One image and its label."""
        return self.images[index], self.targets[index]


def imbalanced_digits(*, rare: float) -> dict[str, Dataset[tuple[np.ndarray, int]]]:
    """Training images, of the digits 5 to 9 only this share; all validation images."""
    digits = load_digits()
    positions = np.random.default_rng(0).permutation(len(digits.target))
    train, val = positions[:900], positions[900:]
    seldom = train[digits.target[train] >= 5]
    kept = np.concatenate(
        [train[digits.target[train] < 5], seldom[: round(rare * len(seldom))]]
    )
    return {
        part: Digits(digits.images[chosen], digits.target[chosen])
        for part, chosen in (("train", kept), ("val", val))
    }


def focal_loss(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Mean of (1 - p)^gamma times the cross-entropy; targets are probabilities (B, C).

    Source: Lin et al. 2017, arXiv:1708.02002.
    """
    log_p = logits.log_softmax(dim=1)
    return -(targets * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1).mean()
