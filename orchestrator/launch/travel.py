"""A run's files between the disk of the node that trains it and the object store.

Each node works in a folder of its own. What must outlive it travels: checkpoints as they are
written, on their own thread; what the run leaves before its end is reported; and the other way
round what a run begins with, where the node has it not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from orchestrator.errors import InfeasibleError, TrainingError
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.tracking.mirror import WHOLE, open_store, work_folder
from orchestrator.tracking.writing import write_whole
from orchestrator.training.context import Copies
from orchestrator.training.result import Result

_DRIVERS: Final = ("metrics.csv", "receipt.json", WHOLE)
"""Files of a run's folder that are not sent with the others: the driver's, and the last one."""
_brought: set[str] = set()
"""Folders of the users' own code that this process has brought."""


class Luggage:
    """What one run takes along; where its storage is a folder, that is nothing.

    Args:
        assignment: As it came, its paths those of the driver.
    """

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        """With the paths of this node."""
        self.copies: Copies | None = None
        """For the training; None where its storage is a folder."""
        if not assignment.store:
            return
        there = Path(assignment.plan.place.folder).parents[2]
        self._root = work_folder() / there.name
        self._store = open_store(assignment.store)
        plan = move_plan(assignment.plan, there, self._root)
        self.assignment = replace(assignment, plan=plan)
        self.copies = Copies(
            keep=self._keep, drop=self._drop, names=self._names, bring=self._bring
        )

    def unpack(self, rank: int) -> None:
        """Bring the user's own code and weights; every rank does.

        Raises:
            TrainingError: The store does not give them.
        """
        if self.copies is None:
            return
        place = self.assignment.plan.place
        if rank == 0:
            # What an earlier attempt has left here is not what this one will.
            (Path(place.folder) / WHOLE).unlink(missing_ok=True)
        with _failing_the_run():
            if place.sources and place.sources not in _brought:
                self._bring_sources(Path(place.sources))
                _brought.add(place.sources)
            weights = Path(place.weights)
            if weights.is_relative_to(self._root) and not weights.exists():
                self._bring(weights)

    def send(self, result: Result) -> None:
        """Send what a finished run has left, rank 0 alone; once this returns, it is there.

        Raises:
            TrainingError: The store does not take it.
        """
        if self.copies is None or result.status != "finished":
            return
        folder = Path(self.assignment.plan.place.folder)
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name not in _DRIVERS and file.suffix != ".part":
                self._keep(file)
        write_whole(folder / WHOLE, uuid4().hex)
        self._keep(folder / WHOLE)

    def drop(self, spent: Sequence[Path]) -> None:
        """Remove what is of no use any more; a store that is gone keeps it."""
        if self.copies is not None:
            with suppress(InfeasibleError):
                for file in spent:
                    self._store.delete(self._name(file))

    def send_traceback(self, ending: dict[str, Any]) -> None:
        """Send the file that an ending names, where the store takes it, and name that one."""
        file = Path(str(ending.get("traceback", "")))
        if self.copies is not None and file.is_file():
            try:
                self._store.put(file, self._name(file))
            except InfeasibleError:
                return
            ending["traceback"] = f"{self._store.address.partition('?')[0]}/{self._name(file)}"

    def _bring_sources(self, folder: Path) -> None:
        for name, size in self._store.list_files(self._name(folder)).items():
            file = self._root / name
            if not file.exists() or file.stat().st_size != size:
                self._store.get(name, file)

    def _keep(self, file: Path) -> None:
        with _failing_the_run(f"; it is kept in {file}"):
            self._store.put(file, self._name(file))

    def _drop(self, file: Path) -> None:
        with _failing_the_run():
            self._store.delete(self._name(file))

    def _names(self, folder: Path) -> Sequence[str]:
        with _failing_the_run():
            return self._store.list_names(self._name(folder))

    def _bring(self, file: Path) -> None:
        with _failing_the_run():
            self._store.get(self._name(file), file)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def move_plan(plan: RunPlan, before: Path, now: Path) -> RunPlan:
    """The plan of a run with what lay in one folder in another.

    Args:
        plan: With absolute paths.
        before: The storage where the plan was made.
        now: The storage here.
    """

    def move(path: str) -> str:
        inside = path and Path(path).is_relative_to(before)
        return str(now / Path(path).relative_to(before)) if inside else path

    place = replace(
        plan.place,
        folder=move(plan.place.folder),
        weights=move(plan.place.weights),
        sources=move(plan.place.sources),
        extends=move(plan.place.extends),
    )
    return replace(plan, place=place)


@contextmanager
def _failing_the_run(more: str = "") -> Iterator[None]:
    """A store that is gone fails the run that needs it, and no other."""
    try:
        yield
    except InfeasibleError as error:
        raise TrainingError(f"{error}{more}") from error
