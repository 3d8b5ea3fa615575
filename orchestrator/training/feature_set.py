"""What lies in a folder of features, and where its description of itself is read and written.

For each layer an array `LAYER.npy`, float32, shape (N, ...), and
labels.npy      class indices, int64, shape (N,)
ids.npy         the samples' numbers in the data set, int64, shape (N,)
features.json   layers, files, shapes, run, classes, and which rows are which part's
All of it loads with NumPy alone: `numpy.load("layer4.npy", mmap_mode="r")`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import TrainingError

LABELS: Final = "labels.npy"
IDS: Final = "ids.npy"
DESCRIPTION: Final = "features.json"


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """What lies in a folder of features."""

    run: str
    weights: str
    dataset: str
    classes: tuple[str, ...]
    """The data's, in the order of their indices."""
    trained_classes: tuple[str, ...]
    """The network's own."""
    pooled: bool
    rows: Mapping[str, tuple[int, int]]
    """Part to its first row and the one after its last."""
    shapes: Mapping[str, tuple[int, ...]]
    """Layer to (N, ...)."""
    files: Mapping[str, str]
    """Layer to file name."""

    @property
    def size(self) -> int:
        """N, the number of images."""
        return max(end for _, end in self.rows.values())


def write_description(folder: Path, features: FeatureSet) -> None:
    """Write `features.json`."""
    text = json.dumps(asdict(features), ensure_ascii=False, indent=2)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> FeatureSet:
    """What a folder of features says of itself.

    Raises:
        TrainingError: There is no such folder here.
    """
    try:
        values: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(
            f"--out: {folder} cannot be read here ({error.strerror}); several nodes need a "
            "folder on storage that they share"
        ) from error
    found = FeatureSet(**values)
    return replace(
        found,
        classes=tuple(found.classes),
        trained_classes=tuple(found.trained_classes),
        rows={part: (first, end) for part, (first, end) in found.rows.items()},
        shapes={name: tuple(shape) for name, shape in found.shapes.items()},
    )


def file_name(layer: str) -> str:
    """The file of a layer's array."""
    plain = re.sub(r"[^\w.-]", "_", layer)
    # Own networks call their layers what they like.
    return f"{plain}_.npy" if f"{plain}.npy" in (LABELS, IDS) else f"{plain}.npy"
