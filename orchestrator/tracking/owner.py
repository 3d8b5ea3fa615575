"""Who writes a search's journal, and whether that process still lives."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def describe_owner() -> dict[str, Any]:
    """This process, told apart from any later one that gets the same number."""
    return {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
    }


def is_alive(owner: Mapping[str, Any]) -> bool | None:
    """Whether the owner still runs; None where this machine cannot know."""
    if owner["host"] != socket.gethostname():
        return None
    if owner["boot"] != _boot_id():
        return False
    alive: bool = _start_time(owner["pid"]) == owner["started"]
    return alive


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _start_time(pid: int) -> str:
    """When the process started, in ticks since boot; empty where no such process lives."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The command's name, in parentheses, may hold spaces.
    values = text.rpartition(")")[2].split()
    # A dead process stays listed until its parent asks for it, which some never do.
    return "" if values[0] in "ZX" else values[19]
