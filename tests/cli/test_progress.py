"""Lines of a search without a terminal."""

from collections.abc import Callable
from typing import Any

from rich.console import Console

from orchestrator.cli.progress import ProgressView, plain_lines
from orchestrator.tracking import journal
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


def test_a_loss_is_no_progress(make_search: MakeSearch) -> None:
    """Once the lanes are gone, the view shows what is waited for and not how far they were."""
    search = make_search()
    search.begin()
    search.start(0)
    search.report(0, 1, 0.5)
    view, history = ProgressView(), SearchHistory(search.folder)
    view.history = history
    history.follow()
    before = draw(view)
    search.book.append(journal.LOST, cause="node b is gone")
    history.follow()

    starting = draw(view)
    view.wait_for("waiting for a machine; giving up in 14:58")

    assert "epoch 1/3" in before
    assert starting == "  starting Ray and the lanes, 0 s\n"
    assert draw(view) == "  waiting for a machine; giving up in 14:58\n"


def draw(view: ProgressView) -> str:
    """What a terminal shows of it."""
    console = Console(width=100)
    with console.capture() as capture:
        console.print(view)
    return capture.get()
