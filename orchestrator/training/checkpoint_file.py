"""Checkpoints as files: tensors and plain values, whole or not at all, checked before use.

A name says how many steps of the run are done and begins the file's SHA-256, as the names of
torch hub's files do: `step-00000240-f37072fd4e1a93c5.pt`. Nothing in a file is ever run.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import torch

from orchestrator.training.whole_file import whole_file

FOLDER: Final = "checkpoints"
"""Where they lie in a run's folder."""
_NAME: Final = re.compile(r"step-(\d{8,})-([0-9a-f]{16})\.pt")
_DIGITS: Final = 16
DAMAGED: Final = ".damaged"
"""Ending of the name of one that turned out not to be whole."""


@dataclass(frozen=True)
class FoundCheckpoint:
    """The newest whole checkpoint of a folder."""

    path: Path | None
    """None where there is none."""
    damaged: tuple[Path, ...]
    """Newer ones whose bytes are not those that were written."""


def write_checkpoint(folder: Path, content: Mapping[str, Any], *, step: int) -> Path:
    """Write one; it outlives a loss of power when this returns.

    Args:
        folder: Where it shall lie; made where it is missing.
        content: Tensors and plain values, nested in maps and lists.
        step: Steps of the run that are done.

    Raises:
        TrainingError: The disk is full or gone; what was there before is as it was.
    """
    name = f"step-{step:08d}"
    with whole_file(folder / name, key="checkpoint", synced=True) as unfinished:
        with unfinished.path.open("wb") as file:
            digested = _Digested(file)
            try:
                torch.save(dict(content), cast(BinaryIO, digested))
            except RuntimeError as error:
                # torch tells of a full disk that some position is unexpected.
                raise digested.error or error from error
        unfinished.target = folder / f"{name}-{digested.digest}.pt"
    return unfinished.target


def find_checkpoint(folder: Path) -> FoundCheckpoint:
    """The newest checkpoint whose bytes are those that were written."""
    damaged: list[Path] = []
    for _, paths in sorted(list_checkpoints(folder).items(), reverse=True):
        for path in paths:
            if is_whole(path):
                return FoundCheckpoint(path, tuple(damaged))
            damaged.append(path)
    return FoundCheckpoint(None, tuple(damaged))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given, on the CPU, without running code."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def list_checkpoints(folder: Path) -> dict[int, list[Path]]:
    """Steps done to the files that say so: one, or several where the bits were not the same."""
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("step-*.pt")):
        step = read_step(path.name)
        if step is not None:
            found.setdefault(step, []).append(path)
    return found


def read_step(name: str) -> int | None:
    """Steps done of the checkpoint of a name; None where it is none."""
    named = _NAME.fullmatch(name)
    return int(named[1]) if named else None


def is_whole(path: Path) -> bool:
    """Whether a file's bytes are those that its name was made of."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
    return path.stem.endswith(f"-{digest}")


class _Digested:
    """A file that is digested as it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.error: OSError | None = None
        """What kept the last write from happening."""

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        """As names have it."""
        return self._digest.hexdigest()[:_DIGITS]
