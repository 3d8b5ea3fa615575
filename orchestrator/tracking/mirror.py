"""The working copy, on this disk, of a storage in an object store.

Journals, locks, the index and MLflow's SQLite need what an object store lacks, so that they lie
in a folder here, like those of any storage. A file in it says whose copy it is: whoever is
given the folder can tell, and every other folder is the storage itself.
"""

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Final
from uuid import uuid4

from orchestrator.tracking.object_store import ObjectStore
from orchestrator.tracking.writing import write_whole

VARIABLE: Final = "ORCHESTRATOR_WORK"
"""Names the folder of the working copies."""
MARK: Final = ".object-store.json"
"""File in a working copy that says whose it is."""
WHOLE: Final = ".whole"
"""File in a run's folder, written last: all that the run has left is there. A token in it tells
one training of the run from another."""
_IDS: Final = ".ids"
"""Folder of a store: which one this is, whatever lay under its address before."""
_NUMBERS: Final = ".numbers"
"""Folder of a store: `name/number/token` of every claim to a number."""
_listed: dict[tuple[str, str], dict[str, int]] = {}
"""Address and search to its files in the store, as this command has first seen them."""


def work_folder() -> Path:
    """Where working copies lie on this machine, absolute."""
    own = os.environ.get(VARIABLE)
    if own:
        return Path(own).expanduser().absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (cache / "orchestrator" / "storage").absolute()


def find_copy(store: ObjectStore) -> Path:
    """The working copy of a store on this machine, made where it is missing.

    Its name ends with the store's own id: after a bucket was emptied, nothing that was left
    here of what lay there before is taken for what is there now.

    Raises:
        InfeasibleError: The store or the disk cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", store.address.partition("?")[0])
    folder = work_folder() / f"{name}-{_find_id(store)}"
    if _read_mark(folder).get("address") != store.address:
        kept = {"copy": uuid4().hex, **_read_mark(folder), "address": store.address}
        write_whole(folder / MARK, json.dumps(kept))
    return folder


def _find_id(store: ObjectStore) -> str:
    """What tells a store from another that had its address; made by its first user."""
    if not store.list_names(_IDS):
        store.put_text(f"{_IDS}/{uuid4().hex[:12]}", "")
    # Of two first users at the same moment, both take the same one from the second look on.
    return min(store.list_names(_IDS))


def address_of(storage: Path) -> str:
    """The address that a folder is a working copy of; empty where it is a storage itself."""
    return _read_mark(storage).get("address", "")


def word_place(path: Path) -> str:
    """Where a file is, for people: its address where it lies in an object store."""
    found = locate(path)
    return str(path) if found is None else f"{found[0].address.partition('?')[0]}/{found[1]}"


def note_place(storage: Path) -> tuple[str, ...]:
    """What a plan shall say of a storage that is a working copy; nothing of any other."""
    address = address_of(storage).partition("?")[0]
    return (f"results go to {address}; what is here is a working copy",) if address else ()


def copy_id(storage: Path) -> str:
    """What tells this working copy from all others of the same store; empty as above."""
    return _read_mark(storage).get("copy", "")


def _read_mark(storage: Path) -> dict[str, str]:
    path = storage / MARK
    values: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    return values


@lru_cache
def open_store(address: str) -> ObjectStore:
    """The store of an address; one for the whole process."""
    return ObjectStore(address)


def locate(path: Path) -> tuple[ObjectStore, str, Path] | None:
    """Where a file of a working copy lies in its store.

    Returns:
        The store, the name of the file there, and the working copy; None where the file is in
        no working copy.
    """
    # A run that was taken from another search is a link to that one's folder.
    real = path.parent.resolve() / path.name
    for folder in real.parents:
        address = address_of(folder)
        if address:
            return open_store(address), real.relative_to(folder).as_posix(), folder
    return None


def is_kept(path: Path) -> bool:
    """Whether a file of a search is there: on this disk, or in the store that it copies."""
    return path.exists() or path.name in list_kept(path.parent)


def list_kept(folder: Path) -> list[str]:
    """Names of the files in a folder of a search, here and in the store, each once."""
    here = {path.name for path in folder.glob("*")}
    found = locate(folder / "file")
    if found is not None:
        store, name, _ = found
        prefix = name.removesuffix("file")
        files = _list_search(store, "/".join(name.split("/")[:2]))
        inside = (file.removeprefix(prefix) for file in files if file.startswith(prefix))
        here |= {file for file in inside if "/" not in file}
    return sorted(here)


def _list_search(store: ObjectStore, search: str) -> dict[str, int]:
    key = store.address, search
    if key not in _listed:
        _listed[key] = store.list_files(search)
    return _listed[key]


def look_again() -> None:
    """Forget what was in the stores: others write to them, too."""
    _listed.clear()


def bring_records(search: Path) -> None:
    """Bring what a search is gone on with from: the user's own code, tables, receipts.

    Args:
        search: Its folder; where that is no working copy, nothing happens.

    Raises:
        InfeasibleError: The store cannot be read, or the disk not be written.
    """
    found = locate(search / "file")
    if found is None:
        return
    store, name, root = found
    missing = {}
    for file in store.list_files(name.removesuffix("/file")):
        inside = file.removeprefix(name.removesuffix("file"))
        is_small = "/" not in inside or inside.startswith("source/")
        is_small |= inside.rpartition("/")[2] in ("metrics.csv", "receipt.json")
        if is_small and not (root / file).exists():
            missing[file] = root / file
    store.get_all(missing)


def bring_run(folder: Path) -> Path:
    """Bring what a run has left, checkpoints excepted.

    Args:
        folder: The run's folder.

    Returns:
        Where its files are: the folder, or that of the run whose results it has.

    Raises:
        InfeasibleError: The store cannot be read, or the disk not be written.
    """
    found = locate(folder / WHOLE)
    if found is None:
        return folder
    store, name, root = found
    prefix, here = name.removesuffix(WHOLE), root / name
    if store.find_sizes([name]):
        token = store.read_text(name)
        if not here.is_file() or here.read_text() != token:
            there = store.list_files(prefix.rstrip("/"))
            wanted = [file for file in there if "/" not in file.removeprefix(prefix)]
            store.get_all({file: root / file for file in wanted if file != name})
            write_whole(here, token)
    return here.parent


def claim(storage: Path, name: str, number: int) -> bool:
    """Claim a number for a search; whether nobody else has, at any time.

    Of two that claim it at the same moment, each may see the other, and both go on to the next.
    """
    address = address_of(storage)
    if not address:
        return True
    store, token = open_store(address), uuid4().hex
    store.put_text(f"{_NUMBERS}/{name}/{number}/{token}", "")
    return store.list_names(f"{_NUMBERS}/{name}/{number}") == [token]


def list_claims(store: ObjectStore) -> dict[str, set[int]]:
    """Name of each experiment to the numbers that were claimed of it."""
    claims: dict[str, set[int]] = {}
    for file in store.list_files(_NUMBERS):
        _, name, number, _ = file.split("/")
        claims.setdefault(name, set()).add(int(number))
    return claims
