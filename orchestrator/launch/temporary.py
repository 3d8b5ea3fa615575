"""Temporary folders of a command: for Ray and for what shall not stay; none outlives its use.

A command that is killed leaves its folders behind; the next one removes them.
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
_NAME: Final = re.compile(rf"{_PREFIX}(\d+)-.+")
_LONGEST: Final = 40
_SHORT: Final = "/tmp"
_LOCK: Final = "owner.lock"
_KEPT: Final = "kept"
_locks: list[IO[bytes]] = []
"""Held until this process ends, however it does."""


def make_temporary_folder() -> Path:
    """A folder told by our process id; those that killed commands have left are removed."""
    remove_left_folders()
    # Ray's Unix sockets live below it, and their paths may have 107 bytes.
    usual = tempfile.gettempdir()
    short = usual if len(usual) <= _LONGEST else _SHORT
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=short))
    lock = (folder / _LOCK).open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _locks.append(lock)
    return folder


def keep_folder(folder: Path) -> None:
    """Let a folder stay for its user to look into."""
    (folder / _KEPT).touch()


def remove_temporary_folders() -> None:
    """Remove those of this process, for an end that cannot wait."""
    for folder, process in _list_folders():
        if process == os.getpid():
            shutil.rmtree(folder, ignore_errors=True)


def remove_left_folders() -> None:
    """Remove this user's folders whose commands have ended, unless they were to stay."""
    for folder, process in _list_folders():
        try:
            is_ours = folder.stat().st_uid == os.getuid()
            is_left = is_ours and not _is_alive(process) and not (folder / _KEPT).exists()
            # A command in another container has an id that means nothing here.
            if is_left and not _is_locked(folder) and not is_named(str(folder)):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Another command was quicker.
            continue


def _list_folders() -> Iterator[tuple[Path, int]]:
    """All that there are, and the id of the process that made each."""
    for parent in {tempfile.gettempdir(), _SHORT}:
        for folder in Path(parent).glob(f"{_PREFIX}*"):
            named = _NAME.fullmatch(folder.name)
            if named and folder.is_dir() and not folder.is_symlink():
                yield folder, int(named[1])


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Somebody else's, or no process of this machine.
        return True
    return True


def _is_locked(folder: Path) -> bool:
    path = folder / _LOCK
    if not path.exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
