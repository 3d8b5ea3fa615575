"""Finished runs of a storage, found again by what decides their numbers.

One small file per fingerprint, below `.index` of the storage, names its runs; another, per
lineage and number of epochs, those that a longer run could go on from. The index is a shortcut:
what it says counts only where the run's journal and folder say the same, and it is made anew
from the journals where it is missing, or was not made to its end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.tracking import storage as places
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mirror import is_kept
from orchestrator.tracking.run_state import RunState
from orchestrator.tracking.writing import writing

INDEX: Final = ".index"
_COMPLETE: Final = "complete"
"""Name of an empty file in it: every search that was there before it is in it."""
_WEIGHTS: Final = "last.safetensors"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run whose results can be taken for those of another search."""

    run_id: str
    folder: Path
    ending: Mapping[str, Any]
    """As its journal has it: metrics, digest of the weights, duration."""
    history: tuple[Mapping[str, float], ...]
    """Metrics of every epoch."""


@dataclass
class FinishedRuns:
    """The finished runs of a storage.

    Args:
        storage: Folder of all experiments.
    """

    storage: Path
    _read: dict[Path, SearchHistory] = field(default_factory=dict)

    def add(self, run_id: str, plan: Mapping[str, Any]) -> None:
        """Let a run that has just finished be found.

        Args:
            run_id: The run.
            plan: Its plan as JSON values.

        Raises:
            InfeasibleError: The disk is full or gone.
        """
        if not plan.get("fingerprint"):
            return
        epochs = plan["numbers"]["training"]["epochs"]
        for path in (
            self._by_fingerprint(plan["fingerprint"]),
            self._by_lineage(plan["lineage"]) / str(epochs),
        ):
            if run_id in _read_lines(path):
                continue
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(run_id + "\n")

    def find(self, fingerprint: str) -> FinishedRun | None:
        """The run of this fingerprint; None where there is none, or its files are gone."""
        self._make_where_missing()
        if not fingerprint:
            return None
        found = self._read_runs(self._by_fingerprint(fingerprint), fingerprint=fingerprint)
        return next(found, None)

    def find_shorter(self, lineage: str, epochs: int) -> Iterator[tuple[int, FinishedRun]]:
        """Runs that were like one in all but their fewer epochs, the longest first."""
        self._make_where_missing()
        folder = self._by_lineage(lineage)
        names = [path.name for path in folder.glob("*")] if lineage else []
        known = [int(name) for name in names if name.isdecimal()]
        for count in sorted((count for count in known if count < epochs), reverse=True):
            for found in self._read_runs(folder / str(count), lineage=lineage):
                yield count, found

    def _read_runs(self, path: Path, **expected: str) -> Iterator[FinishedRun]:
        """Those that a file of the index names and that are there, the newest first."""
        for run_id in reversed(_read_lines(path)):
            found = self._read_run(run_id)
            if found is not None and all(
                found[1].plan.get(key) == value for key, value in expected.items()
            ):
                yield found[0]

    def _read_run(self, run_id: str) -> tuple[FinishedRun, RunState] | None:
        name, _, rest = run_id.partition("/")
        number, _, run = rest.partition("/")
        search = self.storage / name / number
        state = self._history(search).runs.get(run_id)
        if (
            state is None
            or state.status != "finished"
            or state.fewer_workers
            or not is_kept(search / run / _WEIGHTS)
        ):
            return None
        finished = FinishedRun(
            run_id=run_id,
            folder=search / run,
            ending=state.ending,
            history=tuple(
                {key: value for key, value in metrics.items() if key != "epoch"}
                for metrics in state.history
            ),
        )
        return finished, state

    def _history(self, search: Path) -> SearchHistory:
        if search not in self._read:
            self._read[search] = SearchHistory(search)
            self._read[search].follow()
        return self._read[search]

    def _make_where_missing(self) -> None:
        complete = self.storage / INDEX / _COMPLETE
        searches = [] if complete.exists() else places.list_searches(self.storage)
        if not searches:
            return
        for search in searches:
            for run_id, run in self._history(search).runs.items():
                # One that was taken from another is found by that.
                if run.status == "finished" and run.attempt:
                    self.add(run_id, run.plan)
        with writing(complete):
            complete.parent.mkdir(exist_ok=True)
            complete.touch()

    def _by_fingerprint(self, fingerprint: str) -> Path:
        return self.storage / INDEX / "runs" / fingerprint

    def _by_lineage(self, lineage: str) -> Path:
        return self.storage / INDEX / "epochs" / lineage


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
