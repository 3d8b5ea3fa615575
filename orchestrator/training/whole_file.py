"""Files that are there whole or not at all, whatever dies while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from orchestrator.errors import TrainingError

_ENDING: Final = ".part"


@dataclass
class Unfinished:
    """A file that is being written."""

    path: Path
    """Where to write: nobody else's name, so that two processes may write the same file."""
    target: Path
    """Where it shall be in the end; may be changed until then."""


@contextmanager
def whole_file(target: Path, *, key: str, synced: bool = False) -> Iterator[Unfinished]:
    """Write to the path of what is yielded; it comes to its target when the block ends.

    Args:
        target: Where the file shall be; its folder is made.
        key: What the file is of, such as `checkpoint`, for the message.
        synced: Whether it shall outlive a loss of power when the block has ended.

    Raises:
        TrainingError: The disk is full or gone; nothing half-written is left.
    """
    path = target.with_name(f"{target.name}.{uuid4().hex[:8]}{_ENDING}")
    file = Unfinished(path, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield file
        if synced:
            _sync(path)
        path.replace(file.target)
        if synced:
            _sync(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TrainingError(
            f"{key}: cannot write {file.target} ({reason}); free the disk, then run it again"
        ) from error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed have left half-written.

    Args:
        folder: That nobody writes to at this moment; need not be there.
    """
    for path in folder.glob(f"*{_ENDING}"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
