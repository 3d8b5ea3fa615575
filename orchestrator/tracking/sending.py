"""What a driver has written of a search, sent to the object store that it is a copy of.

Now and then while the search goes on, and all of it at its end. What a run leaves is sent by
the worker that trained it; here only what no worker could send.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError
from orchestrator.tracking import mirror
from orchestrator.tracking.journal import FILE_NAME as JOURNAL
from orchestrator.tracking.metrics_file import FILE_NAME as METRICS
from orchestrator.tracking.mlflow_ids import IDS_FILE, read_ids
from orchestrator.tracking.object_store import ObjectStore
from orchestrator.tracking.owner import LOCK_NAME, own
from orchestrator.tracking.presence import Presence
from orchestrator.tracking.receipt import FILE_NAME as RECEIPT

UNSENT: Final = ".unsent"
"""Empty file in a search's folder for as long as something of it may not be in the store."""
_PAUSE_S: Final = 3.0
_SHARE: Final = 0.1
"""Of the time, the most that is spent on sending while a search goes on."""
_LONGEST_PAUSE_S: Final = 30.0
_SOURCES: Final = "source"
_UNFINISHED: Final = (".part", ".damaged")
_NO_RUNS: Final = ("ray", _SOURCES)
"""Folders of a search that are no run's."""


@contextmanager
def sending(search: Path) -> Iterator[Callable[[], None]]:
    """Send what the driver of a search writes, for as long as the block lasts, and at its end.

    Args:
        search: Its folder; where that is in no working copy, nothing happens.

    Yields:
        A function that returns once all that was written before is in the store; it raises
        what the block does.

    Raises:
        InfeasibleError: A process on another machine drives it. Or the end could not be sent;
            the next command that writes sends it.
    """
    address = mirror.address_of(search.parents[1])
    if not address:
        yield _nothing
        return
    store, name = mirror.open_store(address), "/".join(search.parts[-2:])
    presence = Presence(store, name)
    presence.enter()
    try:
        _refuse_older(store, name, search)
        with _sending(search, _Sender(store, search), presence) as send:
            yield send
    finally:
        presence.leave()


def _refuse_older(store: ObjectStore, name: str, search: Path) -> None:
    """Refuse to go on from a journal that another machine has written on meanwhile."""
    here, there = search / JOURNAL, f"{name}/{JOURNAL}"
    known = here.stat().st_size if here.is_file() else 0
    if store.find_sizes([there]).get(there, 0) > known:
        label = name.replace("/", "#")
        raise InfeasibleError(
            f"{label}: another machine went on with it just now; run it again"
        )


@contextmanager
def _sending(
    search: Path, sender: "_Sender", presence: Presence
) -> Iterator[Callable[[], None]]:
    (search / UNSENT).touch()
    leave = threading.Event()
    thread = threading.Thread(
        target=sender.run, args=(leave, presence), name="sending", daemon=True
    )
    thread.start()
    try:
        try:
            yield sender.send
        except BaseException:
            # What ends the search is told, and what is left unsent here is sent by the next.
            with suppress(InfeasibleError):
                sender.finish()
            raise
        sender.finish()
    finally:
        # Not before: until all is sent, others must see that somebody is here.
        leave.set()
        thread.join()


def send_left(search: Path) -> None:
    """Send what a command has left here that was killed, or had lost the store.

    Raises:
        InfeasibleError: The store cannot be written.
    """
    address = mirror.address_of(search.parents[1])
    if address and (search / UNSENT).exists():
        with own(search) as is_ours:
            if is_ours:
                _Sender(mirror.open_store(address), search).finish()


class _Sender:
    def __init__(self, store: ObjectStore, search: Path) -> None:
        self._store = store
        self._search = search
        self._prefix = "/".join(search.parts[-2:])
        self._sent: dict[Path, tuple[int, int]] = {}
        """File to its size and time of change when it was sent."""
        self._turn = threading.Lock()

    def run(self, leave: threading.Event, presence: Presence) -> None:
        """Send now and then; a store that is gone for a while is sent to later."""
        pause = _PAUSE_S
        while not leave.wait(pause):
            began = time.monotonic()
            with suppress(InfeasibleError):
                presence.renew()
                self.send()
            spent = time.monotonic() - began
            pause = min(max(_PAUSE_S, spent / _SHARE), _LONGEST_PAUSE_S)

    def send(self) -> None:
        """Send what is new of the driver's own files."""
        with self._turn:
            for file in self._list_own():
                self._put(file)

    def finish(self) -> None:
        """Send whatever the store has not got."""
        try:
            self.send()
            there = self._store.list_files(self._prefix)
            for folder in self._list_runs():
                self._send_run(folder, there)
        except InfeasibleError as error:
            label = "#".join(self._search.parts[-2:])
            raise InfeasibleError(
                f"{error}; nothing is lost: all of it is in {self._search}, and "
                f"`orchestrator resume {label}` sends it"
            ) from error
        (self._search / UNSENT).unlink(missing_ok=True)

    def _send_run(self, folder: Path, there: dict[str, int]) -> None:
        """Send what a worker on this machine has left and could not send itself."""
        prefix = f"{self._prefix}/{folder.name}"
        is_whole = f"{prefix}/{mirror.WHOLE}" in there
        for file in sorted(folder.rglob("*")):
            name = f"{prefix}/{file.relative_to(folder).as_posix()}"
            # Of a run that is whole there, its worker has sent all, and dropped the rest.
            if is_whole or not file.is_file() or file.suffix in _UNFINISHED:
                continue
            if file.name not in (METRICS, RECEIPT) and there.get(name) != file.stat().st_size:
                self._put(file)

    def _put(self, file: Path) -> None:
        with suppress(FileNotFoundError):
            state = file.stat()
            mark = state.st_size, state.st_mtime_ns
            if self._sent.get(file) != mark:
                name = f"{self._prefix}/{file.relative_to(self._search).as_posix()}"
                self._store.put(file, name)
                self._sent[file] = mark

    def _list_own(self) -> Iterator[Path]:
        """Files that the driver writes: the search's own, and two in every run's folder."""
        unsent = {LOCK_NAME, UNSENT}
        ids = read_ids(self._search)
        if ids is not None and ids["uri"].startswith("sqlite:"):
            # A file beside the working copy: each machine has its own, and ids of its own.
            unsent.add(IDS_FILE)
        for path in sorted(self._search.iterdir()):
            if path.is_file() and path.name not in unsent and path.suffix not in _UNFINISHED:
                yield path
        for path in sorted((self._search / _SOURCES).rglob("*.py")):
            yield path
        for folder in self._list_runs():
            yield from (folder / name for name in (METRICS, RECEIPT))

    def _list_runs(self) -> list[Path]:
        return [
            path
            for path in sorted(self._search.iterdir())
            if path.is_dir() and not path.is_symlink() and path.name not in _NO_RUNS
        ]


def _nothing() -> None:
    pass
