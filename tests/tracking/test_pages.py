"""Where `orchestrator ui` leads to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RecordError
from orchestrator.recorded.pages import find_pages
from orchestrator.tracking.replay import Replay

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
