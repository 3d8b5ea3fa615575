"""Who drives a search: a lock in its folder, held for as long as that process lives.

The kernel lets go of it however the process ends, and tells processes apart that cannot see one
another, as those of two containers cannot.
"""

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from orchestrator.tracking.writing import writing

LOCK_NAME: Final = "owner.lock"


def describe_owner(copy: str = "") -> dict[str, Any]:
    """This process, told apart from any on another machine.

    Args:
        copy: Id of the working copy that it drives a search in; empty where that lies in the
            storage itself.
    """
    owner = {"host": socket.gethostname(), "boot": _boot_id(), "pid": os.getpid()}
    return {**owner, "copy": copy} if copy else owner


@contextmanager
def own(folder: Path) -> Iterator[bool]:
    """Drive a search, or close it: whether nobody else does.

    Args:
        folder: The search's folder.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    path = folder / LOCK_NAME
    with writing(path):
        opened = path.open("ab")
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_owned(folder: Path) -> bool:
    """Whether somebody drives a search at this moment."""
    try:
        with (folder / LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # No lock, or none that can be looked at.
        return False
    return False


def is_in_reach(owner: Mapping[str, Any], copy: str = "") -> bool:
    """Whether the lock tells of that owner: not every shared disk passes locks on.

    Args:
        owner: As `describe_owner` has said it.
        copy: Id of the working copy that the lock lies in.
    """
    if owner.get("copy", "") != copy:
        return False
    here = describe_owner()
    same_boot: bool = owner["boot"] == here["boot"] != ""
    return same_boot or owner["host"] == here["host"]


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""
