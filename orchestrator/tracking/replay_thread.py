"""A replay beside the training, on a thread of its own."""

import threading
import time
from pathlib import Path
from typing import Final

from orchestrator.tracking.replay import Replay

_PAUSE_S: Final = 1.0
_SHARE: Final = 0.1
"""Of a core, the most that is taken from the training: a slow store is written to less often,
in larger batches."""
_LONGEST_PAUSE_S: Final = 10.0


class ReplayThread:
    """A `Replay` that goes on beside the training.

    Args:
        folder: The search's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.error = ""
        """What kept the last attempt from writing; empty where it worked."""
        self._replay = Replay(folder)
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> bool:
        """Wait until everything is written; False where it is not within that time."""
        self._leave.set()
        self._thread.join(timeout_s)
        return self._replay.is_complete

    def _run(self) -> None:
        pause = _PAUSE_S
        while not self._replay.is_complete:
            # Read before the attempt: what is journalled before `finish` is then written.
            leaving = self._leave.is_set()
            began = time.monotonic()
            try:
                self._replay.step()
            except Exception as error:  # noqa: BLE001  a store may fail in any way
                self.error = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                pause = 2 * pause
            else:
                self.error, pause = "", max(_PAUSE_S, (time.monotonic() - began) / _SHARE)
            pause = min(pause, _LONGEST_PAUSE_S)
            if leaving:
                return
            self._leave.wait(pause)
