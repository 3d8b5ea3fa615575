"""Ctrl-C stops soon, twice ends at once; a scheduler's signals stop soon, to be begun again.

Schedulers such as Slurm send SIGUSR1 or SIGTERM before they take a machine away.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from orchestrator.errors import INTERRUPTED, PreemptedError
from orchestrator.launch.processes import kill_descendants
from orchestrator.launch.temporary import remove_temporary_folders

_SHOW_CURSOR = b"\x1b[?25h"
_STANDARD_ERROR = 2


_SCHEDULERS: Final = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def stopped_by_signals(how_to_go_on: Callable[[], str] = str) -> Iterator[None]:
    """Let the first SIGINT raise KeyboardInterrupt and the second kill everything below us.

    SIGTERM and SIGUSR1 stop as the first SIGINT does.

    Args:
        how_to_go_on: The command that goes on with what is stopped; empty where none does.

    Raises:
        PreemptedError: A scheduler's signal stopped what is in the block.
    """
    handler = _Handler(how_to_go_on)
    signals = (signal.SIGINT, *_SCHEDULERS)
    before = {signum: signal.signal(signum, handler) for signum in signals}
    try:
        yield
    except KeyboardInterrupt:
        if handler.notice:
            raise PreemptedError(handler.word_end(f"stopped by {handler.notice}")) from None
        raise
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


class _Handler:
    """Of the signals that stop a command."""

    def __init__(self, how_to_go_on: Callable[[], str]) -> None:
        self.notice = ""
        """The signal of a scheduler that came; empty where none did."""
        self._how_to_go_on = how_to_go_on
        self._seen = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  Python's form
        """Stop, or end at once."""
        self._seen += 1
        if signum in _SCHEDULERS:
            self.notice = signal.Signals(signum).name
        if self._seen == 1:
            raise KeyboardInterrupt
        # What a scheduler has announced once is being done.
        if signum == signal.SIGINT:
            self._end_at_once()

    def word_end(self, what: str) -> str:
        """How it ended, in one line, with the command that goes on."""
        command = self._how_to_go_on()
        return f"{what}; go on with: {command}" if command else what

    def _end_at_once(self) -> None:
        kill_descendants()
        remove_temporary_folders()
        if sys.stdout.isatty():
            # The live view hides the cursor and has no time to show it again.
            os.write(sys.stdout.fileno(), _SHOW_CURSOR)
        if self._how_to_go_on():
            # No buffer and no lock, which whatever was interrupted may hold.
            os.write(_STANDARD_ERROR, f"{self.word_end('ended at once')}\n".encode())
        os._exit(INTERRUPTED)
