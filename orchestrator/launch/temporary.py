"""Temporary folders of a command: for Ray and for what shall not stay.

A command that is killed leaves its folders behind; the next one removes them. Whether a
command lives is told by the lock that it holds, since ids of processes mean nothing in another
container that shares the folder.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from orchestrator.launch.processes import is_named

_PREFIX: Final = "orchestrator-"
_NAME: Final = re.compile(rf"{_PREFIX}\d+-[a-z0-9_]{{8}}")
_LONGEST: Final = 40
_SHORT: Final = "/tmp"
_LOCK: Final = "owner.lock"
_KEPT: Final = "kept"
_held: Final[dict[Path, IO[bytes]]] = {}
"""Folders of this process, and the lock of each."""


def make_temporary_folder() -> Path:
    """A folder with our process id in its name; those of killed commands are removed."""
    remove_left_folders()
    for folder in [folder for folder in _held if not folder.is_dir()]:
        _held.pop(folder).close()
    # Ray's Unix sockets live below it, and their paths may have 107 bytes.
    usual = tempfile.gettempdir()
    short = usual if len(usual) <= _LONGEST else _SHORT
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=short))
    unfinished = folder / f"{_LOCK}.part"
    lock = unfinished.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Never there without being held.
    unfinished.rename(folder / _LOCK)
    _held[folder] = lock
    return folder


def keep_folder(folder: Path) -> None:
    """Let a folder stay for its user to look into; nothing removes it."""
    (folder / _KEPT).touch()


def remove_temporary_folders() -> None:
    """Remove those of this process, for an end that cannot wait."""
    for folder in list(_held):
        shutil.rmtree(folder, ignore_errors=True)
        _held.pop(folder).close()


def remove_left_folders() -> None:
    """Remove this user's folders whose commands have ended, unless they were to stay."""
    for folder in _list_folders():
        try:
            if folder.stat().st_uid == os.getuid() and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Another command was quicker.
            continue


def _list_folders() -> Iterator[Path]:
    """All whose names are of the kind that we give."""
    for parent in {tempfile.gettempdir(), _SHORT}:
        for folder in Path(parent).glob(f"{_PREFIX}*"):
            if _NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                yield folder


def _is_left(folder: Path) -> bool:
    """Whether its lock is there and nobody holds it, and nobody lives in the folder."""
    path = folder / _LOCK
    if not path.is_file() or (folder / _KEPT).exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    # A Ray whose command was killed takes some seconds to end.
    return not is_named(str(folder))
