"""The files of a data set as a CSV table names them: path,label[,split,group].

For data whose classes, parts or groups (the patient, the camera, the original of a copy) are
known to somebody, but not from its folders. Standard library alone, like the manifest.
"""

import csv
import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.errors import SpecError
from orchestrator.planning.manifest import Manifest, build_manifest
from orchestrator.planning.splits import PARTS

_REQUIRED: Final = ("path", "label")
_COLUMNS: Final = (*_REQUIRED, "split", "group")

Row = tuple[str, str, str, str, int]


def scan_table(table: str | Path) -> Manifest:
    """The images that a CSV file names, by absolute paths or by paths relative to itself.

    Raises:
        SpecError: There is no such table, a column is missing or unknown, a file is not there
            or named twice, a split is none, or a group is on both sides of one.
    """
    path = Path(table)
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(_read_rows(lines, path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refuse(path, f"cannot be read ({error})") from error
    _check_rows(rows, path)
    return build_manifest(path.parent, _add_sizes(rows, path))


def _read_rows(lines: Iterator[str], table: Path) -> Iterator[tuple[str, str, str, str]]:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    _check_header(header, table)
    for row in reader:
        if not row:
            continue
        where = f"line {reader.line_num}"
        if len(row) != len(header):
            raise _refuse(table, f"{where} has {len(row)} columns, the header {len(header)}")
        values = {name: value.strip() for name, value in zip(header, row, strict=True)}
        bare = [name for name in _REQUIRED if not values[name]]
        if bare:
            raise _refuse(table, f"{where} has no {bare[0]}")
        split = values.get("split", "")
        if split not in (*PARTS, ""):
            raise _refuse(table, f"{where}: no split {split!r}; one of {', '.join(PARTS)}")
        yield (
            _plain_path(values["path"], table),
            values["label"],
            split,
            values.get("group", ""),
        )


def _plain_path(written: str, table: Path) -> str:
    """One path for all the ways to write it: relative to the table for what lies below it."""
    path, beside = posixpath.normpath(written), f"{table.parent.absolute()}/"
    return path.removeprefix(beside)


def _check_header(header: list[str], table: Path) -> None:
    for name in _REQUIRED:
        if name not in header:
            raise _refuse(table, f"column {name!r} is missing (got {', '.join(header)})")
    for name in header:
        if name not in _COLUMNS or header.count(name) > 1:
            what = "is there twice" if name in _COLUMNS else "is unknown"
            raise _refuse(table, f"column {name!r} {what}; there are {', '.join(_COLUMNS)}")


def _check_rows(rows: list[tuple[str, str, str, str]], table: Path) -> None:
    twice = [path for path, count in Counter(row[0] for row in rows).items() if count > 1]
    if twice:
        more = f", and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise _refuse(table, f"names {twice[0]!r} twice{more}")
    unsaid = sum(not split for _, _, split, _ in rows)
    if 0 < unsaid < len(rows):
        raise _refuse(table, f"{unsaid} of {len(rows)} rows have no split; give all or none")
    side: dict[str, str] = {}
    for _, _, split, group in rows:
        if group and side.setdefault(group, split) != split:
            raise _refuse(
                table,
                f"group {group!r} is in {side[group]} and in {split}; keep it on one side",
            )
    learned = {label for _, label, split, _ in rows if split in ("", "train")}
    for _, label, _, _ in rows:
        if label not in learned:
            raise _refuse(table, f"class {label!r} has no image to train on")


def _add_sizes(rows: list[tuple[str, str, str, str]], table: Path) -> list[Row]:
    found: list[Row] = []
    missing = []
    for path, label, split, group in rows:
        try:
            size = os.stat(table.parent / path).st_size  # noqa: PTH116  twice as fast
        except OSError:
            missing.append(path)
        else:
            found.append((path, label, split, group, size))
    if missing:
        first = ", ".join(missing[:3])
        raise _refuse(
            table, f"{len(missing)} of {len(rows)} files are not there, such as {first}"
        )
    return found


def _refuse(table: Path, text: str) -> SpecError:
    return SpecError([f"data.root: {table}: {text}"])
