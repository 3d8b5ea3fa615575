"""What a folder of images holds, as far as names and headers tell: no pixel is decoded.

Standard library and Pillow: a file is proposed in a second, on a machine without torch.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from orchestrator.errors import SpecError
from orchestrator.planning.manifest import (
    EXTENSIONS,
    Manifest,
    scan_image_folder,
    split_manifest,
)
from orchestrator.planning.splits import PARTS

MOST_HEADERS: Final = 512
"""Files whose headers are read: a median of so many is as good as that of all."""
_SHARES: Final = (0.2, 0.5)
"""Shares to validate on, in the order in which they are tried: few images need more."""
_EXPECTED: Final = "expected FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE and FOLDER/val/..."

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class FolderSurvey:
    """A folder of images, counted and measured."""

    root: Path
    """Absolute."""
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    """Parts that have folders of their own; empty where all are cut from one."""
    val_share: float
    """Share that leaves something to validate on; unread where there is a part for it."""
    counts: dict[str, tuple[int, ...]]
    """Part to images of each class."""
    sizes: tuple[Size, ...]
    """Width and height in pixels of the files whose headers were read."""
    unreadable: tuple[str, ...]
    """Those that have no header, relative to the folder."""

    @property
    def train_size(self) -> int:
        """Training images."""
        return sum(self.counts["train"])

    @property
    def lesser_side(self) -> int:
        """Median of the lesser sides, in pixels."""
        return round(median(min(size) for size in self.sizes))

    @property
    def imbalance(self) -> float:
        """Training images of the largest class over those of the smallest."""
        return max(self.counts["train"]) / min(self.counts["train"])


def survey_folder(folder: str | Path) -> FolderSurvey:
    """Count classes and parts, and read the headers of a sample spread over all files.

    Raises:
        SpecError: There is no such folder, it has no classes, or none of its files is an image.
    """
    root = Path(folder).absolute()
    if root.is_file():
        raise SpecError([f"{folder}: is a file; {_advise_file(root)}"])
    try:
        manifest = scan_image_folder(root)
        share, positions = _split(manifest)
    except SpecError as error:
        text = str(error).removeprefix("data.root: ")
        raise SpecError([f"{folder}: {text}; {_explain(root)}"]) from error
    sizes, unreadable = _read_sizes(manifest)
    if not sizes:
        raise SpecError([f"{folder}: none of {len(unreadable)} files looked at is an image"])
    return FolderSurvey(
        root=root,
        classes=manifest.classes,
        parts=tuple(
            part for part in PARTS if any(entry.split == part for entry in manifest.entries)
        ),
        val_share=share,
        counts={part: _count(manifest, positions[part]) for part in PARTS},
        sizes=sizes,
        unreadable=unreadable,
    )


def _split(manifest: Manifest) -> tuple[float, dict[str, tuple[int, ...]]]:
    for share in _SHARES[:-1]:
        try:
            return share, split_manifest(manifest, share, 0.0)
        except SpecError:
            continue
    return _SHARES[-1], split_manifest(manifest, _SHARES[-1], 0.0)


def _count(manifest: Manifest, positions: Sequence[int]) -> tuple[int, ...]:
    counts = Counter(manifest.entries[position].label for position in positions)
    return tuple(counts[label] for label in range(len(manifest.classes)))


def _read_sizes(manifest: Manifest) -> tuple[tuple[Size, ...], tuple[str, ...]]:
    """Sizes of every n-th file in the order of the paths: every class has its share."""
    from PIL import Image

    step = -(-len(manifest.entries) // MOST_HEADERS)
    sizes, unreadable = [], []
    for entry in manifest.entries[::step]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(Path(manifest.root, entry.path)) as image:
                    sizes.append(image.size)
        # Whatever a broken header makes of a decoder: `check-data` says what it is.
        except Exception:  # noqa: BLE001
            unreadable.append(entry.path)
    return tuple(sizes), tuple(unreadable)


def _explain(root: Path) -> str:
    """What is expected, and what the folder seems to be instead."""
    if not root.is_dir():
        return _EXPECTED
    loose = sum(path.suffix.lower() in EXTENSIONS for path in root.iterdir() if path.is_file())
    tables = sorted(path.name for path in root.glob("*.csv"))
    if loose:
        word = "image lies" if loose == 1 else "images lie"
        return f"{loose} {word} in the folder itself; {_EXPECTED}"
    if tables:
        return f"{_EXPECTED}; {_advise_file(root / tables[0])}"
    return _EXPECTED


def _advise_file(path: Path) -> str:
    if path.suffix.lower() == ".csv":
        return f"for a CSV table, write data: {{dataset: table, root: {path.name}}}"
    return _EXPECTED
