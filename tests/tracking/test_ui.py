"""Links into MLflow's pages, and a port for its server."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking.mlflow_ids import IDS_FILE
from orchestrator.tracking.ui import (
    HOST,
    answers,
    free_port,
    link_to_run,
    link_to_search,
    store_of,
)

MakeSearch = Callable[..., Any]

BASE = "http://127.0.0.1:5000"


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """The folder of `demo#3`, of which MLflow knows nothing yet."""
    folder = tmp_path / "demo" / "3"
    folder.mkdir(parents=True)
    return folder


def write_ids(folder: Path) -> None:
    """What a replay leaves."""
    values = {"uri": "sqlite:////elsewhere/x.db", "experiment": "12"}
    (folder / IDS_FILE).write_text(json.dumps(values))


def test_a_link_shows_the_runs_of_one_search(search: Path) -> None:
    """The address names the view that was laid ready for that search."""
    write_ids(search)

    assert link_to_search(search, BASE) == (
        f"{BASE}/#/experiments/12/runs?viewStateShareKey=search3&workflowType=machine_learning"
    )


def test_a_link_shows_one_run(search: Path) -> None:
    """Within its experiment."""
    write_ids(search)

    assert link_to_run(search, BASE, "abc") == f"{BASE}/#/experiments/12/runs/abc"


def test_before_mlflow_knows_a_search_links_lead_to_its_front(search: Path) -> None:
    """A run's page is found by its id alone."""
    assert link_to_search(search, BASE) == BASE
    assert link_to_run(search, BASE, "abc") == f"{BASE}/#/experiments/0/runs/abc"


def test_the_store_is_the_one_that_was_planned(make_search: MakeSearch, tmp_path: Path) -> None:
    """As the journal says, though nothing was written yet; else the one beside the runs."""
    search = make_search(tracking={"uri": "sqlite:////elsewhere/x.db"})
    search.folder.mkdir(parents=True, exist_ok=True)
    assert store_of(search.folder) == f"sqlite:///{tmp_path / 'mlflow.db'}"

    search.begin()

    assert store_of(search.folder) == "sqlite:////elsewhere/x.db"


def test_a_port_in_use_is_passed_over() -> None:
    """The next free one is taken; whoever listens is noticed."""
    with socket.socket() as busy:
        busy.bind((HOST, 0))
        busy.listen()
        port = busy.getsockname()[1]

        assert answers(port)
        assert free_port(port) > port

    assert not answers(port)
    assert free_port(port) == port
