"""The only door to MLflow: where the store is, whether it can be written, a client for it."""

import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from orchestrator.errors import InfeasibleError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

_SQLITE: Final = "sqlite:///"
_KNOCK_S: Final = 5.0
_METRICS_A_BATCH: Final = 800
_PARAMS_A_BATCH: Final = 80
_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # The journal retries; a client that blocks for minutes on a dead server does not help.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    # A folder of traces or a progress bar of artifacts is not for our terminal.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def prepare_settings() -> None:
    """Set what MLflow reads while it is imported; what the user has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def find_uri(plan: Mapping[str, Any], folder: Path) -> str:
    """The store of a recorded search; the usual one lies beside it, wherever that is now.

    Args:
        plan: The search's plan as JSON values; empty where nothing is recorded.
        folder: Where the search is now.
    """
    beside = f"{_SQLITE}{folder.parents[1] / 'mlflow.db'}"
    if not plan:
        return beside
    uri: str = plan["store_uri"]
    was_beside = f"{_SQLITE}{Path(plan['folder']).parents[1] / 'mlflow.db'}"
    return beside if uri == was_beside else uri


def store_path(uri: str) -> Path | None:
    """The file of an SQLite store; None for a server."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def check_store(uri: str) -> None:
    """Refuse an SQLite store that cannot be written, before anything is started.

    Raises:
        InfeasibleError: The file or its folder cannot be written, or is no database.
    """
    path = store_path(uri)
    if path is None:
        return
    advice = "set tracking.uri to a file that can be written"
    if odd := {"%", "?"}.intersection(str(path)):
        # SQLAlchemy would look elsewhere, and MLflow try so for minutes.
        raise InfeasibleError(
            f"tracking.uri: MLflow's store {path} cannot have {min(odd)!r} in its path; "
            "set storage_path or tracking.uri to a path without it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with tempfile.TemporaryFile(dir=path.parent):
                return
        connection = sqlite3.connect(path, timeout=30)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except OSError as error:
        raise InfeasibleError(
            f"tracking.uri: cannot write MLflow's store {path} ({error.strerror}); {advice}"
        ) from error
    except sqlite3.Error as error:
        raise InfeasibleError(
            f"tracking.uri: cannot write MLflow's store {path} ({error}); {advice}"
        ) from error


def reach_store(uri: str) -> None:
    """Knock at a server.

    Raises:
        InfeasibleError: Nothing answers there.
    """
    if store_path(uri) is not None:
        return
    parts = urlsplit(uri)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_KNOCK_S).close()
    except OSError as error:
        raise InfeasibleError(f"tracking.uri: nothing answers at {uri} ({error})") from error


def open_store(uri: str) -> "MlflowClient":
    """A client of the store, which is made where it is missing.

    MLflow needs about ten seconds of migrations to make an SQLite store, and several processes
    that do it at once break it. An empty store is therefore made once per version, under a
    lock, and copied into place.
    """
    prepare_settings()
    path = store_path(uri)
    if path is not None and not path.exists():
        _place_copy(_empty_store(path.parent), path)
    from mlflow import MlflowClient

    return MlflowClient(uri)


def log_batches(
    client: "MlflowClient",
    identifier: str,
    metrics: "list[Metric]",
    params: "list[Param]",
    tags: "list[RunTag]",
) -> None:
    """Write all of it to the run of this id, in as few calls as MLflow's limits allow."""
    while metrics or params or tags:
        client.log_batch(identifier, metrics[:_METRICS_A_BATCH], params[:_PARAMS_A_BATCH], tags)
        metrics, params, tags = metrics[_METRICS_A_BATCH:], params[_PARAMS_A_BATCH:], []


def artifact_folder(uri: str) -> Path | None:
    """Where the artifacts of an SQLite store lie, beside it; None for a server, which knows."""
    path = store_path(uri)
    return path.with_name(f"{path.stem}-artifacts") if path else None


def _empty_store(beside: Path) -> Path:
    cache = _cache_folder(beside)
    empty = cache / f"mlflow-{version('mlflow')}.db"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not empty.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                made = Path(folder) / "mlflow.db"
                _make_store(made)
                made.replace(empty)
    return empty


def _cache_folder(beside: Path) -> Path:
    """The user's cache, or a folder beside the store where no home can be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        cache = home.expanduser() / "orchestrator"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return cache
    # RuntimeError: there is no home at all.
    except (OSError, RuntimeError):
        cache = beside / ".cache"
        cache.mkdir(parents=True, exist_ok=True)
        return cache


def _make_store(path: Path) -> None:
    # In a process of its own: MLflow keeps engines and settings for good once it has made one.
    code = (
        "import sys; from mlflow import MlflowClient; "
        "MlflowClient(sys.argv[1]).search_experiments()"
    )
    subprocess.run(
        [sys.executable, "-c", code, f"{_SQLITE}{path}"], check=True, capture_output=True
    )
    connection = sqlite3.connect(path)
    # Readers, such as the UI, do not wait for the writer.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _place_copy(source: Path, target: Path) -> None:
    """Copy a file into place in one step; whoever comes second leaves the first one's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent) as copy:
        shutil.copyfile(source, copy.name)
        Path(copy.name).chmod(0o644)
        try:
            os.link(copy.name, target)
        except FileExistsError:
            return
