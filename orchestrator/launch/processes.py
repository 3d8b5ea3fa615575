"""The processes below this one, for an end that cannot wait."""

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
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

    All are halted first, parents before children: none sees a child die and starts it again,
    or starts one that nobody has seen.
    """
    halted: list[int] = []
    while new := [one for one in list_descendants(os.getpid()) if one not in halted]:
        for process in new:
            _send(process, signal.SIGSTOP)
        halted += new
    for process in halted:
        _send(process, signal.SIGKILL)


def kill_naming(text: str) -> None:
    """End every process whose command line names a text.

    Args:
        text: Long and unique, such as the path of a temporary folder.
    """
    for process in _list_naming(text):
        _send(process, signal.SIGKILL)


def is_named(text: str) -> bool:
    """Whether the command line of a process that can be seen names a text; as `kill_naming`."""
    return any(True for _ in _list_naming(text))


def _list_naming(text: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and text.encode() in _read(entry / "cmdline"):
            yield int(entry.name)


def _send(process: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signum)


def _read(path: Path) -> bytes:
    """What a file of a process says; nothing where the process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(entry: Path) -> int:
    """The parent's id; 0 for a process that has just ended."""
    fields = _read(entry / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0
