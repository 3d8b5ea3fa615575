"""Every image of a data set, read once before anything is trained on it.

Besides files that cannot be read it finds files that are there twice: an image of the training
part that is also validated on makes every score too good, and nothing else ever tells.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.decode_pass import Progress, decode_files
from orchestrator.training.data.decoding import UnreadableImageError
from orchestrator.training.data.folders import SCANS
from orchestrator.training.data.image_set import Pixels, TensorPixels
from orchestrator.training.data.loading import check_labels, keep_classes, load_raw
from orchestrator.training.data.own_set import load_own
from orchestrator.training.data.raw_set import RawPart, RawSet
from orchestrator.training.data.torchvision_sets import SETS
from orchestrator.training.own_code import is_own_code


class CheckedImage(NamedTuple):
    """One image, as messages name it."""

    part: str
    """`train`, `val` or `test`."""
    class_name: str
    name: str
    """Its path, or its place in its data set."""


class Shape(NamedTuple):
    """Size of an image in pixels, upright."""

    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What reading every image of a data set has shown."""

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    """Part to images of each class, unreadable ones included; parts without images left out."""
    kind: Literal["files", "items", "memory"]
    """What was read: files, items of a data set's code, or nothing: all is in memory."""
    shapes: Mapping[Shape, int]
    """Size to images that have it, readable ones alone."""
    unreadable: tuple[tuple[CheckedImage, str], ...]
    """Images that cannot be read, and why."""
    copies: tuple[tuple[CheckedImage, ...], ...]
    """Groups of files with the same content, to the byte."""

    @property
    def leaks(self) -> tuple[tuple[CheckedImage, ...], ...]:
        """Copies that lie in several parts: what is trained on is scored on."""
        return tuple(group for group in self.copies if len({x.part for x in group}) > 1)

    @property
    def contradictions(self) -> tuple[tuple[CheckedImage, ...], ...]:
        """Copies that lie in several classes."""
        return tuple(group for group in self.copies if len({x.class_name for x in group}) > 1)


@dataclass(frozen=True)
class _Read:
    """One image that was read, or why it was not."""

    image: CheckedImage
    shape: Shape | None
    reason: str = ""


def check_data_set(
    plan: DataPlan, place: Place, *, progress: Progress | None = None
) -> DataCheck:
    """Read every image of all parts of a data set, and compare the files.

    Args:
        plan: Key `data`, decided.
        place: Where the data lies.
        progress: Called now and then with the number of images done and of all.

    Raises:
        TrainingError: The data is not there, or is no data set at all.
    """
    raw = keep_classes(_load_everything(plan, place), plan.classes)
    parts = {name: part for name, part in raw.parts.items() if len(part.labels)}
    for name, part in parts.items():
        check_labels(part, raw.classes, name)
    images = {name: list(_name_images(name, part, raw.classes)) for name, part in parts.items()}
    read = _read(parts, images, channels=plan.channels, progress=progress)
    files = any(isinstance(part.images, tuple) for part in parts.values())
    in_memory = all(isinstance(part.images, TensorPixels) for part in parts.values())
    shapes: dict[Shape, int] = defaultdict(int)
    for one in read:
        if one.shape is not None:
            shapes[one.shape] += 1
    return DataCheck(
        classes=raw.classes,
        counts={
            name: tuple(torch.bincount(part.labels, minlength=len(raw.classes)).tolist())
            for name, part in parts.items()
        },
        kind="files" if files else "memory" if in_memory else "items",
        shapes=dict(sorted(shapes.items())),
        unreadable=tuple((one.image, one.reason) for one in read if one.shape is None),
        copies=_find_copies([one.image for one in read]) if files else (),
    )


def _load_everything(plan: DataPlan, place: Place) -> RawSet:
    """Every part that the data set has, test images too: nothing here is trained on them."""
    if is_own_code(plan.dataset):
        return load_own(plan, place, ("train", "val"), optional=("test",))
    has_test = plan.dataset in SCANS or plan.dataset == "digits"
    if plan.dataset in SETS:
        has_test = "test" in SETS[plan.dataset].parts or plan.test_share > 0
    return load_raw(plan, place, ("train", "val", "test") if has_test else ("train", "val"))


def _name_images(name: str, part: RawPart, classes: Sequence[str]) -> Iterator[CheckedImage]:
    describe = (
        part.images.__getitem__ if isinstance(part.images, tuple) else part.images.describe
    )
    for row, label in zip(part.rows.tolist(), part.labels.tolist(), strict=True):
        yield CheckedImage(name, classes[label], describe(row))


def _read(
    parts: Mapping[str, RawPart],
    images: Mapping[str, list[CheckedImage]],
    *,
    channels: int,
    progress: Progress | None,
) -> list[_Read]:
    """Files of all parts in one pass; items one by one, as their code may not be run by two."""
    total = sum(map(len, images.values()))
    found: list[_Read] = []
    for name, part in parts.items():
        before = len(found)
        follow = _follow(progress, before, total)
        if isinstance(part.images, tuple):
            paths = [image.name for image in images[name]]
            decoded = decode_files(paths, channels=channels, progress=follow)
            outcomes: Iterator[Tensor | TrainingError] = decoded
        else:
            outcomes = _read_items(part.images, part.rows.tolist(), follow)
        found += [
            _judge(image, outcome)
            for image, outcome in zip(images[name], outcomes, strict=True)
        ]
    return found


def _follow(progress: Progress | None, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total) if progress is not None else None


def _read_items(
    pixels: Pixels, rows: list[int], progress: Callable[[int, int], None]
) -> Iterator[Tensor | TrainingError]:
    for done, row in enumerate(rows, start=1):
        try:
            yield pixels.read(row)
        except TrainingError as error:
            yield error
        progress(done, len(rows))


def _judge(image: CheckedImage, outcome: Tensor | TrainingError) -> _Read:
    if isinstance(outcome, Tensor):
        height, width = outcome.shape[-2:]
        return _Read(image, Shape(width, height))
    if isinstance(outcome, UnreadableImageError):
        return _Read(image, None, outcome.reason)
    # Begins with key and name, which stand beside it already.
    return _Read(image, None, str(outcome).removeprefix(f"data.dataset: {image.name} "))


def _find_copies(images: Sequence[CheckedImage]) -> tuple[tuple[CheckedImage, ...], ...]:
    """Groups of equal files; only those of equal length are read for it."""
    by_length: dict[int, list[CheckedImage]] = defaultdict(list)
    for image in images:
        try:
            by_length[os.stat(image.name).st_size].append(image)  # noqa: PTH116  twice as fast
        except OSError:
            continue
    by_content: dict[bytes, list[CheckedImage]] = defaultdict(list)
    for length, group in by_length.items():
        if len(group) > 1 and length > 0:
            for image in group:
                by_content[_digest(image.name)].append(image)
    return tuple(tuple(group) for group in by_content.values() if len(group) > 1)


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").digest()
