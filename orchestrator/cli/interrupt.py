"""Ctrl-C: once stops soon, twice ends at once and leaves no process."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from orchestrator.errors import INTERRUPTED
from orchestrator.launch.processes import kill_descendants
from orchestrator.launch.temporary import remove_temporary_folders

_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def second_interrupt_ends_at_once() -> Iterator[None]:
    """Let the first SIGINT raise KeyboardInterrupt and the second kill everything below us."""
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
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
