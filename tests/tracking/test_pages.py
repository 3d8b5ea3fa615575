"""Where `orchestrator ui` leads to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RecordError
from orchestrator.recorded.pages import find_pages
from orchestrator.tracking import mirror
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.owner import describe_owner, own
from orchestrator.tracking.replay import Replay
from orchestrator.tracking.sending import sending

MakeSearch = Callable[..., Any]


def test_a_run_that_mlflow_does_not_know_is_refused(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """Its search would be another page than was asked for."""
    search = make_search()
    search.begin()
    search.train(0, 0.5)
    search.close()
    Replay(search.folder).step()
    assert find_pages("demo", storage_path=str(tmp_path)).mlflow_id == ""
    known = find_pages("demo/seed=0,label_smoothing=0", storage_path=str(tmp_path))
    assert known.mlflow_id

    with pytest.raises(RecordError) as caught:
        find_pages("demo/label_smoothing=0.1,seed=1", storage_path=str(tmp_path))

    assert str(caught.value) == (
        "demo/label_smoothing=0.1,seed=1: MLflow has no such run yet; its search is demo#1"
    )


@pytest.mark.usefixtures("cache_home")
def test_a_search_of_another_machine_has_pages_here(
    make_search: MakeSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's store beside the working copy is filled from the journal that was brought."""
    address = f"file://{tmp_path}/store"
    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "one"))
    search = make_search(storage=open_storage(address, writes=True))
    mirror.claim(search.folder.parents[1], "demo", 1)
    with own(search.folder), sending(search.folder):
        search.begin(owner=describe_owner("another copy"))
        search.train(0, 0.5)
        search.close()

    monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / "two"))
    found = find_pages("demo/seed=0,label_smoothing=0", storage_path=address)

    assert found.mlflow_id
    assert found.store == f"sqlite:///{found.folder.parents[1]}/mlflow.db"
    assert found.folder.is_relative_to(tmp_path / "two")
    assert not (tmp_path / "one").joinpath(search.folder.parents[1].name, "mlflow.db").exists()
