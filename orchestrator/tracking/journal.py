"""The journal of one search: an append-only file of JSON lines on the driver's disk.

The first and only place where a report must arrive before training goes on; MLflow, the screen
and the tables are made from it. One write per line, so that a process that is killed loses
nothing that it has written. A line that a full disk or a power cut has torn never counted: it
is recognised by its missing end, ended by whoever opens the journal next, and skipped.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from orchestrator.tracking.writing import writing

FILE_NAME: Final = "journal.jsonl"

SEARCH: Final = "search"
LANE: Final = "lane"
START: Final = "start"
EPOCH: Final = "epoch"
NOTE: Final = "note"
LOST: Final = "lost"
END: Final = "end"
CLOSE: Final = "close"
ANSWER: Final = "answer"

Entry = dict[str, Any]


class Journal:
    """Appends entries; several processes may append to one file.

    Args:
        folder: The search's folder; made where it is missing.

    Raises:
        InfeasibleError: The disk is full or gone.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._path = folder / FILE_NAME
        with writing(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, flags, 0o644)
        with writing(self._path), self._locked():
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")

    def append(self, kind: str, **values: Any) -> None:  # noqa: ANN401  JSON holds anything
        """Write one entry with the present time, `t`, in seconds since 1970.

        Raises:
            ValueError: A value is NaN or infinite, which JSON cannot hold.
            InfeasibleError: The disk is full or gone.
        """
        entry = {"kind": kind, "t": time.time(), **values}
        line = (json.dumps(entry, allow_nan=False) + "\n").encode()
        with writing(self._path):
            with self._locked():
                written = os.write(self._file, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else writes: else a half of another's line would pass for a torn one."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class JournalReader:
    """Reads a journal from its beginning, and what is appended as it comes.

    Args:
        folder: The search's folder; the file need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._offset = 0

    def read(self) -> Iterator[Entry]:
        """The whole entries that were not read before, torn lines left out."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def end_unfinished(
    book: Journal,
    runs: Iterable[str],
    *,
    error: str,
    durations: Mapping[str, float] | None = None,
) -> None:
    """Give an ending to runs that will never have one of their own.

    Args:
        book: The search's journal.
        runs: Their ids.
        error: Why they did not finish, in one line.
        durations: How long they trained, in seconds, where it is known.
    """
    for run_id in runs:
        book.append(
            END,
            run=run_id,
            status="stopped",
            metrics={},
            weights_sha256="",
            duration_s=(durations or {}).get(run_id, 0.0),
            error=error,
        )
