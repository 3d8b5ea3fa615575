"""A dropped SSH connection: the run goes on and writes to a file."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_OVER_SSH: Final = "SSH_CONNECTION"
_INPUT, _OUTPUT, _ERROR = 0, 1, 2


@contextmanager
def outlives_its_connection() -> Iterator[None]:
    """Ignore the SIGHUP of a connection that breaks; that of a closed window still ends us.

    Processes that are started meanwhile, Ray's above all, ignore it too.
    """
    if _OVER_SSH not in os.environ:
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def is_on_terminal() -> bool:
    """Whether somebody may look on; once a terminal has hung up, it is none any more."""
    return os.isatty(_OUTPUT)


def write_to(file: Path) -> None:
    """Write to a file what would have been shown; a disk that is full costs it, not the run."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    output = nowhere
    with suppress(OSError):
        output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(output, b"the connection was lost; the run goes on\n")
    os.dup2(nowhere, _INPUT)
    os.dup2(output, _OUTPUT)
    os.dup2(output, _ERROR)
