"""What is recorded in an object store, brought to the working copy here: `open_storage`.

Journals only ever grow, so that of two copies of one the longer is the newer, as long as it
begins with the other. Where it does not, two machines have gone on from the same point, and the
store's counts: the other is kept beside it.
"""

import os
from pathlib import Path
from typing import Final
from uuid import uuid4

from orchestrator.errors import InfeasibleError
from orchestrator.planning.search_plan import RERUN
from orchestrator.specs.addresses import check_address, is_address
from orchestrator.tracking import journal, mirror, storage
from orchestrator.tracking.finished import FinishedRuns
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.links import link_run
from orchestrator.tracking.mlflow_ids import IDS_FILE
from orchestrator.tracking.object_store import ObjectStore
from orchestrator.tracking.owner import is_owned
from orchestrator.tracking.sending import UNSENT, send_left

_ASIDE: Final = "journal.before-{}.jsonl"
"""Name of a journal that another machine has gone on without."""


def open_storage(
    asked: str | None = None, *, writes: bool = False, tries: bool = False
) -> Path:
    """The folder of all experiments: as asked, by the environment, or `./runs`.

    Of an object store it is the working copy here, with every journal as it is there.

    Args:
        asked: A folder or an address.
        writes: Whether something shall be written: what cannot be is refused, and what an
            earlier command has left unsent is sent.
        tries: Whether to refuse an object store that could not be written, and leave all else.

    Raises:
        InfeasibleError: The store does not answer, or cannot be written; or the disk cannot.
    """
    text = asked or os.environ.get(storage.VARIABLE) or ""
    if not is_address(text):
        folder = storage.find_storage(asked)
        text = mirror.address_of(folder)
    if not text:
        if writes:
            storage.check_storage(folder)
        return folder
    try:
        store = mirror.open_store(check_address(text))
    except ValueError as error:
        raise InfeasibleError(f"storage_path: {error}") from error
    storage.check_storage(mirror.work_folder())
    store.check(writes=writes or tries)
    folder = mirror.find_copy(store)
    _bring(store, folder)
    if writes:
        for search in storage.list_searches(folder):
            send_left(search)
    return folder


def _bring(store: ObjectStore, folder: Path) -> None:
    mirror.look_again()
    claims = mirror.list_claims(store)
    for name, numbers in claims.items():
        storage.keep_given(folder, name, numbers)
    sizes = store.find_sizes(
        f"{name}/{number}/{journal.FILE_NAME}"
        for name, numbers in claims.items()
        for number in sorted(numbers)
    )
    for name, size in sizes.items():
        here = folder / name
        # Whoever drives it here knows more than the store.
        if (here.is_file() and here.stat().st_size == size) or is_owned(here.parent):
            continue
        if _bring_journal(store, name, here):
            _take_in(folder, here.parent)


def _bring_journal(store: ObjectStore, name: str, here: Path) -> bool:
    """Whether the store's journal is now the one here, and was not before."""
    there = here.with_name(f"{here.name}.{uuid4().hex[:8]}.part")
    try:
        store.get(name, there)
        known = here.read_bytes() if here.is_file() else b""
        newer = there.read_bytes()
        if known.startswith(newer):
            return False
        if not newer.startswith(known):
            here.rename(here.with_name(_ASIDE.format(uuid4().hex[:8])))
        there.replace(here)
    finally:
        there.unlink(missing_ok=True)
    # What was left here to be sent is older than what is there.
    (here.parent / UNSENT).unlink(missing_ok=True)
    if store.find_sizes([ids := f"{Path(name).parent.as_posix()}/{IDS_FILE}"]):
        store.get(ids, here.with_name(IDS_FILE))
    return True


def _take_in(folder: Path, search: Path) -> None:
    """Let a search's finished runs be found, and those that it took from others be links."""
    history, finished = SearchHistory(search), FinishedRuns(folder)
    history.follow()
    for run_id, run in history.runs.items():
        if run.status != "finished":
            continue
        if run.reused:
            link = search / run_id.rpartition("/")[2]
            if not link.is_symlink():
                link_run(link, folder / run.reused)
        elif run.attempts and not search.parent.name.endswith(RERUN):
            finished.add(run_id, run.plan)
