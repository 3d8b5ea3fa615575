"""Ctrl-C: once stops soon, twice ends at once and leaves no process."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from orchestrator.errors import INTERRUPTED
from orchestrator.launch.processes import kill_descendants
from orchestrator.launch.temporary import remove_temporary_folders

_SHOW_CURSOR = b"\x1b[?25h"
_STANDARD_ERROR = 2


@contextmanager
def second_interrupt_ends_at_once(last_word: Callable[[], str] = str) -> Iterator[None]:
    """Let the first SIGINT raise KeyboardInterrupt and the second kill everything below us.

    Args:
        last_word: What the second one prints, in one line; nothing where it is empty.
    """
    seen = 0

    def on_interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal seen
        seen += 1
        if seen == 1:
            raise KeyboardInterrupt
        kill_descendants()
        remove_temporary_folders()
        if sys.stdout.isatty():
            # The live view hides the cursor and has no time to show it again.
            os.write(sys.stdout.fileno(), _SHOW_CURSOR)
        if word := last_word():
            # No buffer and no lock, which whatever was interrupted may hold.
            os.write(_STANDARD_ERROR, f"{word}\n".encode())
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
