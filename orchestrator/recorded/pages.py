"""Where MLflow shows a search or a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.errors import RecordError
from orchestrator.recorded.runs import choose_best_run
from orchestrator.tracking import storage
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.lookup import find_run
from orchestrator.tracking.mirror import address_of
from orchestrator.tracking.mlflow_ids import read_ids
from orchestrator.tracking.orphans import close_orphans
from orchestrator.tracking.owner import own
from orchestrator.tracking.replay_thread import ReplayThread
from orchestrator.tracking.ui import link_to_run, link_to_search, store_of

_WRITE_S: Final = 60.0
"""How long MLflow's store may take to be written before its pages are opened."""


@dataclass(frozen=True)
class Pages:
    """Where MLflow shows something."""

    store: str
    """Tracking store, for a server to be started on."""
    folder: Path
    """Folder of the search."""
    mlflow_id: str = ""
    """MLflow's id of one run; empty for the whole search."""

    @property
    def server(self) -> str:
        """Address of the server that has the records; empty for an SQLite store."""
        return self.store.rstrip("/") if self.store.startswith("http") else ""

    def link(self, base: str) -> str:
        """The address of the pages on a server at `base`."""
        if self.mlflow_id:
            return link_to_run(self.folder, base, self.mlflow_id)
        return link_to_search(self.folder, base)


def find_pages(name: str | None, *, storage_path: str | None = None) -> Pages:
    """Where MLflow shows a search or a run.

    Args:
        name: `NAME`, `NAME#3`, or a run as `find_run` takes it; None for the latest search.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.

    Raises:
        RecordError: There is no such search or run.
    """
    folder = open_storage(storage_path)
    close_orphans(folder)
    if name is None:
        latest = storage.latest_search(folder)
        if latest is None:
            raise RecordError(f"nothing is recorded under {folder}; run an experiment first")
        _write_here(latest)
        return Pages(store_of(latest), latest)
    if storage.list_numbers(folder, name.partition("#")[0]) and not set("/@") & set(name):
        search = storage.find_search(folder, name)
        _write_here(search)
        return Pages(store_of(search), search)
    found = find_run(folder, name, choose_best=choose_best_run)
    if not found.mlflow_id:
        _write_here(found.search.folder)
        found = find_run(folder, name, choose_best=choose_best_run)
    if not found.mlflow_id:
        label = found.search.label
        raise RecordError(f"{name}: MLflow has no such run yet; its search is {label}")
    return Pages(store_of(found.search.folder), found.search.folder, found.mlflow_id)


def _write_here(search: Path) -> None:
    """Let MLflow's store of this machine know a search that another machine has recorded."""
    ids = read_ids(search)
    if not address_of(search.parents[1]) or (ids is not None and ids["complete"]):
        return
    with own(search) as is_ours:
        if is_ours:
            ReplayThread(search).finish(_WRITE_S)
