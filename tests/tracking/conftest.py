"""Searches that never trained: their journals are written line by line, as a driver would."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.resolve import resolve_search
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.load import load_spec
from orchestrator.tracking import journal
from orchestrator.tracking.owner import describe_owner
from tests.plans import DIGITS

LANE = "lane 0"
FACTS = {"python": "3.11.0", "torch": "2.11.0", "git.commit": "abc", "git.dirty": "false"}


class Search:
    """One search of two values of label smoothing with two seeds, and its journal.

    Args:
        storage: Folder of all experiments.
        number: The search's number.
        sections: Keys of the spec to add or replace.
    """

    def __init__(self, storage: Path, *, number: int = 1, **sections: Any) -> None:
        values: dict[str, Any] = {
            "name": "demo",
            "description": "does smoothing help?",
            "data": {"dataset": "digits"},
            "model": {"architecture": "small_cnn"},
            "training": {"epochs": 3},
            "loss": {"label_smoothing": {"grid": [0, 0.1]}},
            "search": {"seeds": 2},
        }
        cluster = Cluster(nodes=(Node(name="here", cpus=1, gpus=0),))
        self.plan: SearchPlan = resolve_search(
            load_spec(values | sections),
            cluster,
            storage=storage,
            number=number,
            inputs=DIGITS,
        )
        self.folder = self.plan.folder
        self.run_ids = [run.run_id for run in self.plan.runs]
        self.book = journal.Journal(self.folder)

    def begin(
        self,
        owner: Mapping[str, Any] | None = None,
        *,
        done: tuple[int, ...] = (),
        **facts: Any,
    ) -> None:
        """Write what a driver writes first, with runs that are done; let one lane join."""
        ids = [self.run_ids[index] for index in done]
        self.book.append(
            journal.SEARCH,
            plan={**self.plan.to_json(), "done": dict(zip(ids, ids, strict=True))},
            owner=owner or describe_owner(),
            facts={**FACTS, **facts},
        )
        self.book.append(journal.LANE, lane=LANE, facts={"device": "cpu"})

    def join(self, lane: str, **facts: Any) -> None:
        """Let another lane join."""
        self.book.append(journal.LANE, lane=lane, facts=facts)

    def start(self, index: int, *, attempt: int = 1, lane: str = LANE) -> None:
        """Begin the index-th run."""
        self.book.append(journal.START, run=self.run_ids[index], lane=lane, attempt=attempt)

    def report(self, index: int, epoch: int, accuracy: float) -> None:
        """Report one epoch of the index-th run."""
        metrics = {"train/loss": 1 / epoch, "val/accuracy": accuracy}
        self.book.append(journal.EPOCH, run=self.run_ids[index], epoch=epoch, metrics=metrics)

    def note(self, index: int, note: str, **values: Any) -> None:
        """Say something else of the index-th run."""
        self.book.append(journal.NOTE, run=self.run_ids[index], note=note, **values)

    def keep_weights(self, index: int) -> None:
        """Leave the index-th run's file of weights, as training does."""
        folder = Path(self.plan.runs[index].place.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "last.safetensors").write_bytes(b"weights")

    def end(self, index: int, status: str, **values: Any) -> None:
        """End the index-th run."""
        empty = {"metrics": {}, "weights_sha256": "", "error": "", "duration_s": 2.5}
        self.book.append(
            journal.END, run=self.run_ids[index], status=status, **{**empty, **values}
        )

    def train(self, index: int, *accuracies: float) -> None:
        """Begin, report and finish the index-th run."""
        self.start(index)
        for epoch, accuracy in enumerate(accuracies, start=1):
            self.report(index, epoch, accuracy)
        metrics = {"train/loss": 1 / len(accuracies), "val/accuracy": accuracies[-1]}
        self.end(index, "finished", metrics=metrics, weights_sha256="0123abcd")

    def close(self, status: str = "finished", *, files: tuple[Path, ...] = ()) -> None:
        """Close the search and answer it."""
        self.book.append(journal.CLOSE, status=status)
        self.book.append(
            journal.ANSWER,
            sentence="no value is better",
            markdown="**no value is better**\n\n_does smoothing help?_",
            files=[str(path) for path in files],
        )


MakeSearch = Callable[..., Search]


@pytest.fixture
def make_search(tmp_path: Path) -> MakeSearch:
    """Builds a search under `tmp_path`; nothing is in its journal yet."""

    def make(**changes: Any) -> Search:
        return Search(changes.pop("storage", tmp_path), **changes)

    return make


@pytest.fixture(scope="session")
def child_environment() -> Mapping[str, str]:
    """The environment of a Python process that imports this very package."""
    return {**os.environ, "PYTHONPATH": str(Path(orchestrator.__file__).parents[1])}


@dataclass(frozen=True)
class OpenedStore:
    """A store that four processes opened at once, with nothing in the cache."""

    path: Path
    cache: Path


OPENER = """
import sys
from orchestrator.tracking.store import open_store
client = open_store(sys.argv[1])
run = client.create_run("0", run_name=sys.argv[2])
client.log_metric(run.info.run_id, "x", 1.0)
"""


@pytest.fixture(scope="session")
def first_opened(
    tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]
) -> OpenedStore:
    """The one time in these tests that an empty store is made: it takes ten seconds."""
    folder = tmp_path_factory.mktemp("first")
    opened = OpenedStore(path=folder / "mlflow.db", cache=folder / "cache")
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, f"sqlite:///{opened.path}", name],
            env={**child_environment, "XDG_CACHE_HOME": str(opened.cache)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    said = [opener.communicate(timeout=200)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 4, "\n".join(said)
    return opened


@pytest.fixture
def cache_home(first_opened: OpenedStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that holds an empty store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(first_opened.cache))
    return first_opened.cache
