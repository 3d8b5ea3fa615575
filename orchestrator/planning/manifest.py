"""The files of a data set as a value: paths, classes, parts, sizes, and one digest of all.

Planning reads it to know how many images and classes there are before anything starts,
training reads it again and compares the digest: a run's numbers belong to exactly these files.
The digest leaves out where the folder lies and when it was copied: neither changes a pixel.

Standard library alone: planning has no torch.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.errors import SpecError
from orchestrator.planning.splits import PARTS, Positions, cut_parts

EXTENSIONS: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
)
_SPLITS: Final = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class Entry(NamedTuple):
    """One image file."""

    path: str
    """Relative to the manifest's root, or absolute where a table says so; forward slashes."""
    label: int
    """Index into the manifest's classes."""
    split: str
    """`train`, `val` or `test`; empty where the data does not say."""
    group: str
    """What must not be torn apart by a split; empty for nothing."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Manifest:
    """The image files of a data set."""

    root: str
    """Absolute folder that the paths start from."""
    classes: tuple[str, ...]
    """Names, in the order of their indices."""
    entries: tuple[Entry, ...]
    """Ordered by path."""

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, over classes, paths, labels, splits, groups and sizes."""
        digest = hashlib.sha256("\0".join(self.classes).encode(errors="surrogateescape"))
        for entry in self.entries:
            line = "\0".join(map(str, entry))
            digest.update(f"\n{line}".encode(errors="surrogateescape"))
        return digest.hexdigest()


def scan_image_folder(root: str | Path) -> Manifest:
    """The images under `root/CLASS/` or under `root/{train,val,test}/CLASS/`.

    A class's folders may be nested; hidden files and folders and whatever is no image by its
    name are passed over. `valid` and `validation` are other words for `val`.

    Raises:
        SpecError: There is no such folder, fewer than two classes, or a class without images.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise _refuse(f"no such folder ({folder})")
    names = [entry.name for entry in _visible(folder) if entry.is_dir()]
    splits = [name for name in names if name.lower() in _SPLITS]
    parts = {_SPLITS[name.lower()] for name in splits}
    others = [name for name in names if name not in splits]
    if len(parts) > 1 and "train" in parts and others:
        raise _refuse(
            f"folders of parts ({', '.join(splits)}) stand beside others "
            f"({', '.join(others[:3])}); move one kind away"
        )
    # A class may well be called train: a part it is where nothing but parts stands beside it.
    by_split = "train" in parts and not others
    found = []
    for split in names if by_split else [""]:
        part = _SPLITS[split.lower()] if by_split else ""
        for kind in _visible(folder / split):
            if kind.is_dir():
                files = _images(kind.path, f"{split}/{kind.name}" if split else kind.name)
                found.append((kind.name, part, list(files)))
    return _build_folder_manifest(folder, found)


def split_manifest(
    manifest: Manifest, val_share: float, test_share: float
) -> dict[str, Positions]:
    """Positions of each part's entries, ascending, under `train`, `val` and `test`.

    Parts that the data has are kept. The others are cut from the rest, stratified by class,
    groups kept whole; a property of data and shares alone, not of a seed.

    Raises:
        SpecError: Nothing is left to validate on, or a class has nothing to train on.
    """
    given = {part: [] for part in PARTS}  # type: dict[str, list[int]]
    for position, entry in enumerate(manifest.entries):
        given[entry.split or "train"].append(position)
    pool = [manifest.entries[position] for position in given["train"]]
    cut = cut_parts(
        [entry.path for entry in pool],
        [entry.label for entry in pool],
        [entry.group for entry in pool],
        val_share=0.0 if given["val"] else val_share,
        test_share=0.0 if given["test"] else test_share,
    )
    rest = {part: tuple(given["train"][position] for position in cut[part]) for part in PARTS}
    parts = {
        "train": rest["train"],
        "val": tuple(given["val"]) or rest["val"],
        "test": tuple(given["test"]) or rest["test"],
    }
    _check_parts(manifest, parts)
    return parts


def build_manifest(root: Path, entries: list[tuple[str, str, str, str, int]]) -> Manifest:
    """A manifest of files with their classes' names: path, class, split, group, size.

    Raises:
        SpecError: There are fewer than two classes.
    """
    classes = tuple(sorted({name for _, name, _, _, _ in entries}))
    if len(classes) < 2:
        what = "no class" if not classes else f"only the class {classes[0]!r}"
        raise _refuse(f"{what} in {root}; needs images of two classes or more")
    index = {name: label for label, name in enumerate(classes)}
    ordered = sorted(entries)
    return Manifest(
        root=str(root.absolute()),
        classes=classes,
        entries=tuple(
            Entry(path, index[name], split, group, size)
            for path, name, split, group, size in ordered
        ),
    )


def _build_folder_manifest(
    folder: Path, found: list[tuple[str, str, list[tuple[str, int]]]]
) -> Manifest:
    learned = {name for name, part, files in found if files and part in ("", "train")}
    bare = sorted({name for name, _, _ in found} - learned)
    if bare:
        more = f" and {len(bare) - 1} more classes have" if len(bare) > 1 else " has"
        raise _refuse(
            f"class {bare[0]!r}{more} no image to train on in {folder}; "
            f"images end in {' '.join(sorted(EXTENSIONS))}"
        )
    return build_manifest(
        folder,
        [(path, name, part, "", size) for name, part, files in found for path, size in files],
    )


def _check_parts(manifest: Manifest, parts: dict[str, Positions]) -> None:
    if not parts["val"]:
        raise SpecError(
            [
                f"data.val_share: leaves no image of {len(manifest.entries)} to validate on; "
                "raise it"
            ]
        )
    learned = {manifest.entries[position].label for position in parts["train"]}
    if len(learned) < len(manifest.classes):
        missing = next(
            name for label, name in enumerate(manifest.classes) if label not in learned
        )
        raise _refuse(f"class {missing!r} has no image to train on, once the others are cut")


def _visible(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise _refuse(f"{folder} cannot be read ({error.strerror})") from error
    return sorted(found, key=lambda entry: entry.name)


def _images(folder: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Relative path and size of each image below a folder, in the order of the names."""
    for entry in _visible(folder):
        path = f"{prefix}/{entry.name}"
        if entry.is_dir():
            yield from _images(entry.path, path)
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:  # noqa: PTH122  a Path each takes seconds
            # A link to nothing is listed, so that reading it says so: data kept elsewhere and
            # not brought here would be left out in silence.
            lies_here = entry.is_file()
            yield path, entry.stat().st_size if lies_here else 0


def _refuse(text: str) -> SpecError:
    return SpecError([f"data.root: {text}"])
