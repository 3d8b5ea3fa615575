"""A dropped SSH connection: the run goes on and writes to a file."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

_OVER_SSH: Final = "SSH_CONNECTION"
_INPUT, _OUTPUT, _ERROR = 0, 1, 2


@contextmanager
def goes_on_after_hangup(find_file: Callable[[], Path]) -> Iterator[None]:
    """Survive the SIGHUP of a connection that breaks; that of a closed window still ends us.

    Args:
        find_file: Where everything is written from then on.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    if ignored or _OVER_SSH not in os.environ:
        yield
        return

    def on_hangup(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        _write_to(find_file())

    before = signal.signal(signal.SIGHUP, on_hangup)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _write_to(file: Path) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    output = nowhere
    # A disk that is full or gone costs the text, not the run.
    with suppress(OSError):
        output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(output, b"the connection was lost; the run goes on\n")
    os.dup2(nowhere, _INPUT)
    os.dup2(output, _OUTPUT)
    os.dup2(output, _ERROR)
