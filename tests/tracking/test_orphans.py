"""Searches whose driver was killed are closed by whoever comes next."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking import orphans
from orchestrator.tracking.history import read_search
from orchestrator.tracking.mlflow_ids import read_ids
from orchestrator.tracking.orphans import close_orphans
from orchestrator.tracking.owner import describe_owner, own
from orchestrator.tracking.store import open_store

MakeSearch = Callable[..., Any]

DRIVER = """
import json, sys
from contextlib import ExitStack
from pathlib import Path
from orchestrator.tracking.owner import describe_owner, own
with ExitStack() as held:
    for folder in map(Path, sys.argv[1:]):
        folder.mkdir(parents=True, exist_ok=True)
        assert held.enter_context(own(folder))
    print(json.dumps(describe_owner()), flush=True)
    input()
"""


@pytest.fixture
def driver(child_environment: Mapping[str, str], tmp_path: Path) -> Any:
    """A process that could drive `demo#1` to `demo#3`, and what it says of itself."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, *(str(tmp_path / "demo" / n) for n in "123")],
        env=child_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def begin(make_search: MakeSearch, driver: Any) -> Any:
    """A search of that driver: one run has finished, one is running, two wait."""
    import json

    search = make_search()
    search.begin(owner=json.loads(driver.stdout.readline()))
    search.train(0, 0.5)
    search.start(1)
    search.report(1, 1, 0.25)
    return search


def kill(driver: Any) -> None:
    """End the driver as nothing else does, and wait until it is gone."""
    driver.kill()
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)


def test_a_killed_drivers_search_is_closed(
    make_search: MakeSearch, driver: Any, tmp_path: Path, cache_home: Path
) -> None:
    """Its runs end as stopped, MLflow shows none of them running; the next time is no more."""
    search = begin(make_search, driver)
    assert close_orphans(tmp_path) == []
    kill(driver)

    assert close_orphans(tmp_path) == [search.folder]

    record = read_search(search.folder)
    assert record.status == "stopped"
    assert [run.status for run in record.runs] == ["finished", *["stopped"] * 3]
    assert record.runs[1].error == "the process that drove the search was killed"
    assert record.runs[1].duration_s >= 0
    client = open_store(search.plan.store_uri)
    ids = read_ids(search.folder)
    assert ids is not None
    assert ids["complete"]
    statuses = [client.get_run(i).info.status for i in (ids["search"], *ids["runs"].values())]
    assert statuses == ["KILLED", "FINISHED", "KILLED"]
    note = client.get_run(ids["search"]).data.tags["mlflow.note.content"]
    assert note == "The process that drove this search was killed before it had finished."

    before = (search.folder / "journal.jsonl").read_bytes()
    assert close_orphans(tmp_path) == []
    assert (search.folder / "journal.jsonl").read_bytes() == before
    assert cache_home.is_dir()


def test_two_commands_at_once_close_a_search_once(
    make_search: MakeSearch, driver: Any, tmp_path: Path
) -> None:
    """While one is at it, the other leaves the search alone."""
    search = begin(make_search, driver)
    kill(driver)
    before = (search.folder / "journal.jsonl").read_bytes()

    with own(search.folder) as is_ours:
        assert is_ours
        assert close_orphans(tmp_path) == []

    assert (search.folder / "journal.jsonl").read_bytes() == before


def test_a_full_disk_keeps_nobody_from_reading(
    make_search: MakeSearch, driver: Any, tmp_path: Path
) -> None:
    """A search that cannot be closed stays as it is; the command that came by goes on."""
    search = begin(make_search, driver)
    kill(driver)
    before = (search.folder / "journal.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
    try:
        assert close_orphans(tmp_path) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (search.folder / "journal.jsonl").read_bytes() == before
    assert read_search(search.folder).status == "running"


def test_what_was_left_unwritten_is_written(
    make_search: MakeSearch, driver: Any, tmp_path: Path, cache_home: Path
) -> None:
    """A search that ended, while its store did not answer, is brought up to date."""
    import json

    search = make_search()
    search.begin(owner=json.loads(driver.stdout.readline()))
    search.train(0, 0.5)
    search.close()
    kill(driver)

    assert close_orphans(tmp_path) == []

    ids = read_ids(search.folder)
    assert ids is not None
    assert ids["complete"]
    assert read_search(search.folder).status == "finished"
    assert cache_home.is_dir()


def test_stores_that_do_not_answer_share_one_deadline(
    make_search: MakeSearch, driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three searches whose server says nothing are closed in the time that one may take."""
    import json

    monkeypatch.setattr(orphans, "_REPLAY_S", 5.0)
    owner = json.loads(driver.stdout.readline())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        searches = [make_search(number=n, tracking={"uri": uri}) for n in (1, 2, 3)]
        for search in searches:
            search.begin(owner=owner)
            search.train(0, 0.5)
        kill(driver)

        began = time.monotonic()
        closed = close_orphans(tmp_path)
        seconds = time.monotonic() - began

    assert closed == [search.folder for search in searches]
    assert seconds < 12.0


def test_another_machines_search_is_left_alone(make_search: MakeSearch, tmp_path: Path) -> None:
    """Nobody here can know whether it is still trained."""
    search = make_search()
    search.begin(owner={**describe_owner(), "host": "another", "boot": "another"})
    search.start(0)

    assert close_orphans(tmp_path) == []
    assert read_search(search.folder).status == "running"
