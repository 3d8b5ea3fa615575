"""Lines of a search without a terminal."""

from collections.abc import Callable
from typing import Any

from orchestrator.cli.progress import plain_lines
from orchestrator.tracking.history import SearchHistory
from tests.tracking.conftest import make_search

__all__ = ["make_search"]

MakeSearch = Callable[..., Any]


def test_what_is_not_trained_now_is_told_as_such(make_search: MakeSearch) -> None:
    """Another search's, done before an interruption, and one that was trained after all."""
    search = make_search()
    search.begin()
    search.train(0, 0.5)
    for index in (1, 2):
        search.note(index, "reused", run_id="demo/7/x", history=[])
        search.end(index, "finished", metrics={"val/accuracy": 0.5})
    search.begin(done=(0, 1))
    search.train(2, 0.25)
    history = SearchHistory(search.folder)
    history.follow()

    assert [line.partition("seed=")[2][3:] for line in plain_lines(history)] == [
        "val/accuracy 0.5000  done before",
        "val/accuracy 0.5000  reused, of demo#7",
        "val/accuracy 0.2500  2.5 s",
    ]
    assert history.to_record().runs[1].reused == "demo/7/x"
    assert history.to_record().runs[2].reused == ""
