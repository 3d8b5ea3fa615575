"""The store: refused before anything starts, made once, sound for many at once."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InfeasibleError
from orchestrator.tracking.storage import list_searches
from orchestrator.tracking.store import (
    artifact_folder,
    check_store,
    open_store,
    prepare_settings,
    store_path,
)


def test_an_address_names_a_file_or_a_server() -> None:
    """Artifacts lie beside the file; a server keeps its own."""
    assert store_path("sqlite:////data/runs/mlflow.db") == Path("/data/runs/mlflow.db")
    assert artifact_folder("sqlite:////data/mlflow.db") == Path("/data/mlflow-artifacts")
    assert store_path("http://localhost:5000") is None
    assert artifact_folder("http://localhost:5000") is None


def test_a_store_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    """Before it exists its folder is made; afterwards not a byte of it changes."""
    path = tmp_path / "new" / "mlflow.db"

    check_store(f"sqlite:///{path}")
    assert list(path.parent.iterdir()) == []
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE kept (x)")
    before = path.read_bytes()
    check_store(f"sqlite:///{path}")

    assert path.read_bytes() == before


def test_a_server_is_not_asked() -> None:
    """It may be started later."""
    check_store("http://127.0.0.1:1")


def test_a_store_below_a_file_is_refused(tmp_path: Path) -> None:
    """The file, the cause, and what to set."""
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "mlflow.db"

    with pytest.raises(InfeasibleError) as caught:
        check_store(f"sqlite:///{path}")

    assert str(caught.value) in {
        f"tracking.uri: cannot write MLflow's store {path} ({cause}); "
        "set tracking.uri to a file that can be written"
        for cause in ("Not a directory", "File exists")
    }


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Before a run's records are lost to it."""
    path = tmp_path / "mlflow.db"
    path.write_text("these are notes, and not a database, whatever the file is called" * 20)

    with pytest.raises(InfeasibleError) as caught:
        check_store(f"sqlite:///{path}")

    assert str(caught.value) == (
        f"tracking.uri: cannot write MLflow's store {path} (file is not a database); "
        "set tracking.uri to a file that can be written"
    )


@pytest.mark.parametrize("letter", ["%", "?"])
def test_a_path_that_its_address_cannot_hold_is_refused(tmp_path: Path, letter: str) -> None:
    """At once, and not after minutes of trying."""
    path = tmp_path / f"a{letter}20b" / "mlflow.db"

    with pytest.raises(InfeasibleError) as caught:
        check_store(f"sqlite:///{path}")

    assert str(caught.value) == (
        f"tracking.uri: MLflow's store {path} cannot have '{letter}' in its path; "
        "set storage_path or tracking.uri to a path without it"
    )


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours are defaults."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
        prepare_settings()
        settings = subprocess.run(
            [sys.executable, "-c", "import os; print(sorted(os.environ.items()))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '5')" in settings
    assert "('MLFLOW_HTTP_REQUEST_TIMEOUT', '7')" in settings
    assert "('MLFLOW_DISABLE_TELEMETRY', 'true')" in settings


def test_four_processes_at_once_get_one_sound_store(first_opened: Any) -> None:
    """With nothing in the cache: the empty store is made once, and no run is lost."""
    path = first_opened.path

    names = {run.info.run_name for run in open_store(f"sqlite:///{path}").search_runs(["0"])}
    assert names == {"a", "b", "c", "d"}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    cached = sorted(item.suffix for item in (first_opened.cache / "orchestrator").iterdir())
    assert cached == ["", ".db"]


def test_a_store_that_exists_is_opened(tmp_path: Path, cache_home: Path) -> None:
    """What is in it stays."""
    uri = f"sqlite:///{tmp_path / 'deep' / 'mlflow.db'}"

    made = open_store(uri).create_experiment("kept")

    assert open_store(uri).get_experiment_by_name("kept").experiment_id == made
    assert cache_home.is_dir()


def test_a_home_that_cannot_be_written_is_done_without(
    tmp_path: Path, first_opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empty store is then kept beside the store, in a folder that is no experiment."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    beside = tmp_path / "runs" / ".cache"
    beside.mkdir(parents=True)
    for empty in (first_opened.cache / "orchestrator").glob("*.db"):
        shutil.copyfile(empty, beside / empty.name)

    open_store(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}").create_experiment("kept")

    assert (beside / "lock").exists()
    assert list_searches(tmp_path / "runs") == []
