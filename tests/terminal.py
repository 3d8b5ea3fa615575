"""A terminal, for commands that must have one."""

import os
import pty
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class Terminal:
    """A terminal that a command has to itself, as a login has it, and somebody who looks on.

    Args:
        command: What runs on it.
        folder: Where it runs.
        environment: Its variables; ours by default.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            # The session is its own, so that it hears of the terminal's end, and of Ctrl-C.
            ["setsid", "--ctty", "--wait", *command],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._seen = b""
        self._closing = threading.Event()
        # Where nobody reads, a command waits for its screen.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was shown so far."""
        return self._seen.decode(errors="replace")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def hang_up(self) -> None:
        """Let the terminal be gone."""
        self._closing.set()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while not self._closing.is_set():
            if select.select([self._ours], [], [], 0.1)[0]:
                # An error where the command has ended.
                with suppress(OSError):
                    self._seen += os.read(self._ours, 65536)
