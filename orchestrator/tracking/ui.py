"""MLflow's own pages over our store: a light server on this machine, and links into it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mlflow_ids import read_ids
from orchestrator.tracking.saved_view import view_key
from orchestrator.tracking.store import artifact_folder, find_uri, prepare_settings

HOST = "127.0.0.1"
_LIGHT = {
    # Fifteen processes of which a reader needs two.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def link_to_search(folder: Path, base: str) -> str:
    """The address at which MLflow shows one search, its runs as a table.

    Args:
        folder: The search's folder.
        base: Address of the server, without a final slash.
    """
    ids = read_ids(folder)
    if ids is None:
        return base
    # No filter beside it: MLflow takes the saved view only where the address says nothing else.
    key = view_key(f"{folder.parent.name}#{folder.name}")
    return (
        f"{base}/#/experiments/{ids['experiment']}/runs"
        f"?viewStateShareKey={key}&workflowType=machine_learning"
    )


def link_to_run(folder: Path, base: str, mlflow_id: str) -> str:
    """The address at which MLflow shows one run of the search in `folder`."""
    ids = read_ids(folder)
    experiment = ids["experiment"] if ids else "0"
    return f"{base}/#/experiments/{experiment}/runs/{mlflow_id}"


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            # As the server itself will bind: a port whose last connections linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {first} to {first + 99}")


def start_server(uri: str, port: int) -> "subprocess.Popen[bytes]":
    """Start MLflow's server on this machine alone, on an SQLite store.

    Args:
        uri: The store.
        port: Where to listen.
    """
    prepare_settings()
    artifacts = artifact_folder(uri)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", uri]
    command += ["--default-artifact-root", artifacts.as_uri()] if artifacts else []
    return subprocess.Popen(
        command,
        env={**os.environ, **_LIGHT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def answers(port: int) -> bool:
    """Whether the server is up."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


def store_of(folder: Path) -> str:
    """The store that a search was written to."""
    history = SearchHistory(folder)
    history.follow()
    return find_uri(history.plan, folder)
