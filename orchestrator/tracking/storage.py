"""Where everything lies: `<storage>/<name>/<number>/<run>/`, and MLflow's store beside it."""

import fcntl
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError, RecordError
from orchestrator.specs.addresses import is_address
from orchestrator.tracking import journal
from orchestrator.tracking.mirror import claim

VARIABLE: Final = "ORCHESTRATOR_STORAGE"
DEFAULT: Final = "runs"
_GIVEN: Final = ".numbers"
"""Folder of a storage: a file for each name, with every number that was given."""


def find_storage(asked: str | None = None) -> Path:
    """The folder of all experiments, absolute: as asked, by the environment, or `./runs`.

    An address in the environment is no folder: `bringing.open_storage` knows those.
    """
    usual = os.environ.get(VARIABLE) or DEFAULT
    usual = DEFAULT if is_address(usual) else usual
    return Path(asked or usual).expanduser().absolute()


def next_number(storage: Path, name: str) -> int:
    """The number that the next search of this name would get: none is ever given twice.

    One of a search that was deleted would mean two: MLflow keeps its runs.
    """
    return max([*list_numbers(storage, name), *_list_given(storage, name)], default=0) + 1


def list_numbers(storage: Path, name: str) -> list[int]:
    """Numbers of the searches of this name, ascending."""
    folder = storage / name
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def list_begun(storage: Path, name: str) -> list[int]:
    """Numbers of the searches of this name that have a journal, ascending."""
    numbers = list_numbers(storage, name)
    return [number for number in numbers if _journal(storage, name, number).exists()]


def claim_number(storage: Path, name: str) -> int:
    """Make the folder of the next search of this name; two callers never get the same number.

    Raises:
        InfeasibleError: The folder cannot be written, or the store that it is a copy of.
    """
    number = next_number(storage, name)
    try:
        while True:
            try:
                (storage / name / str(number)).mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                keep_given(storage, name, [number])
                if claim(storage, name, number):
                    return number
                (storage / name / str(number)).rmdir()
                number += 1
    except OSError as error:
        raise _refuse(storage, error) from error


def _list_given(storage: Path, name: str) -> list[int]:
    """Numbers that were given to searches of this name, those that are deleted among them."""
    path = storage / _GIVEN / f"{name}.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    # A power cut may have torn a line.
    return [int(line) for line in lines if line.isdecimal()]


def keep_given(storage: Path, name: str, numbers: Iterable[int]) -> None:
    """Note that these numbers were given, here or elsewhere."""
    new = sorted({*numbers} - {*_list_given(storage, name)})
    if not new:
        return
    path = storage / _GIVEN / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write that appends: of several processes, none loses another's.
    with path.open("a") as file:
        file.write("".join(f"{number}\n" for number in new))


def check_storage(storage: Path) -> None:
    """Refuse a storage folder that cannot be made, written or locked; nothing is left behind.

    Raises:
        InfeasibleError: The folder, or the nearest one above it, cannot be written.
    """
    nearest = next(path for path in (storage, *storage.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            # Journals and owners are locked; some network disks know no locks.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _refuse(storage, error) from error


def _refuse(storage: Path, error: OSError) -> InfeasibleError:
    return InfeasibleError(
        f"storage_path: cannot write to {storage} ({error.strerror}); "
        f"set storage_path or {VARIABLE} to a folder that can be written"
    )


def find_search(storage: Path, label: str) -> Path:
    """The folder of `NAME` (its latest search) or `NAME#3`.

    Raises:
        RecordError: There is none.
    """
    name, _, number = label.partition("#")
    known = list_begun(storage, name)
    if not known:
        others = sorted(
            entry.name for entry in _folders(storage) if list_numbers(storage, entry.name)
        )
        hint = f"; there are {', '.join(others)}" if others else ""
        raise RecordError(f"no search of the name {name!r} under {storage}{hint}")
    if not number:
        return storage / name / str(known[-1])
    if not number.isdecimal() or int(number) not in known:
        numbers = ", ".join(map(str, known))
        raise RecordError(f"{name} has no search {number!r}; its numbers are {numbers}")
    return storage / name / str(int(number))


def list_searches(storage: Path) -> list[Path]:
    """Folders of all searches that have a journal, by name and number."""
    return [
        storage / entry.name / str(number)
        for entry in sorted(_folders(storage))
        for number in list_numbers(storage, entry.name)
        if _journal(storage, entry.name, number).exists()
    ]


def latest_search(storage: Path) -> Path | None:
    """Folder of the search that was started last; None where there is none.

    By what the journals say: a file's time changes when its search is closed or replayed.
    """
    started = {folder: _started(folder) for folder in list_searches(storage)}
    return max(started, key=lambda folder: started[folder], default=None)


def _started(folder: Path) -> float:
    """When the journal begins, seconds since 1970; 0 where it is empty."""
    first = next(journal.JournalReader(folder).read(), None)
    return 0.0 if first is None else float(first["t"])


def _folders(storage: Path) -> list[Path]:
    return [entry for entry in storage.iterdir() if entry.is_dir()] if storage.is_dir() else []


def _journal(storage: Path, name: str, number: int) -> Path:
    return storage / name / str(number) / journal.FILE_NAME
