"""The processes below this one, for an end that cannot wait."""

import os
import signal
from collections import defaultdict
from pathlib import Path


def list_descendants(root: int) -> list[int]:
    """Ids of all processes below `root`, parents first."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            children[_parent(entry)].append(int(entry.name))
    found = list(children[root])
    for process in found:
        found.extend(children[process])
    return found


def kill_descendants() -> None:
    """End every process below this one with SIGKILL.

    Parents first, so that none of them sees a child die and starts it again.
    """
    for process in list_descendants(os.getpid()):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _parent(entry: Path) -> int:
    """The parent's id; 0 for a process that has just ended."""
    try:
        text = (entry / "stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
