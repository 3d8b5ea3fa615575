"""What the broker keeps of every run and every lane."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import InfeasibleError
from orchestrator.planning.run_plan import RunPlan
from orchestrator.tracking import journal

MAX_CHARGES: Final = 3
"""Deaths of its own lane after which a run is given up; also deaths of a lane that cannot even
begin, after which the search is."""

OUT_OF_MEMORY: Final = "out of memory"
"""Status of an ending after which a run may be tried again."""

Ending = dict[str, Any]


class Recorder:
    """Writes the journal for as long as there is a disk.

    Args:
        folder: The search's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._journal = journal.Journal(folder)
        self._lost = ""

    def write(self, kind: str, **values: Any) -> str:  # noqa: ANN401  JSON holds anything
        """Append an entry; why none can be written any more, empty while all is well."""
        if not self._lost:
            try:
                self._journal.append(kind, **values)
            except InfeasibleError as error:
                self._lost = str(error)
        return self._lost


@dataclass
class RunBook:
    """A run that was submitted, and how often it was tried."""

    plan: RunPlan
    ending: "asyncio.Future[Ending]"
    attempts: int = 0
    parts: int = 1
    """Least parts that a worker's share of a batch is cut into."""
    charges: int = 0
    started: float = 0.0

    def end_of_death(self, cause: str, *, stopping: bool) -> Ending | None:
        """What the death of its lane means for a run; None where it is tried again.

        Args:
            cause: What Ray says of it; empty where it says nothing.
            stopping: Whether nothing new may begin.
        """
        if self.charges >= MAX_CHARGES:
            last = f", at last: {cause}" if cause else ""
            error = f"its worker died {self.charges} times while training it{last}"
            return {"status": "failed", "error": error}
        if stopping:
            return {"status": "stopped", "error": "stopped before it had finished"}
        return None

    def end_of_memory(self, ending: Ending, *, stopping: bool) -> Ending | None:
        """What a lack of memory means; None where it is tried again, with smaller parts."""
        rest = {key: value for key, value in ending.items() if key != "parts"}
        if ending["parts"] is None or stopping:
            return {**rest, "status": "failed"}
        self.parts = ending["parts"]
        return None


class Queue:
    """The runs that were submitted, and which of them wait."""

    def __init__(self) -> None:
        self.runs: dict[str, RunBook] = {}
        self._waiting: deque[str] = deque()
        self._settled: dict[str, Ending] = {}
        self._parts: dict[str, int] = {}

    def settle(self, endings: Mapping[str, Ending], parts: Mapping[str, int]) -> None:
        """Know what an earlier broker has come to.

        Args:
            endings: Of the runs that need not be trained.
            parts: Of a batch, of runs that were found to need several.
        """
        self._settled.update(endings)
        self._parts.update(parts)

    def submit(self, plan: RunPlan) -> RunBook:
        """Add a run; one that is known already is only returned."""
        if plan.run_id not in self.runs:
            run = self.runs[plan.run_id] = RunBook(
                plan,
                asyncio.get_running_loop().create_future(),
                parts=self._parts.get(plan.run_id, 1),
            )
            if plan.run_id in self._settled:
                run.ending.set_result(self._settled[plan.run_id])
            else:
                self._waiting.append(plan.run_id)
        return self.runs[plan.run_id]

    def __bool__(self) -> bool:
        """Whether a run waits."""
        return bool(self._waiting)

    def __iter__(self) -> Iterator[str]:
        """The runs that wait, as they are now."""
        return iter(list(self._waiting))

    def take(self) -> RunBook:
        """The next run."""
        return self.runs[self._waiting.popleft()]

    def put_back(self, run_id: str) -> None:
        """Let a run be the next one."""
        self._waiting.appendleft(run_id)

    def drop(self, run_id: str) -> None:
        """A run waits no more."""
        if run_id in self._waiting:
            self._waiting.remove(run_id)


@dataclass
class LaneBook:
    """A lane, from its last joining on."""

    generation: str = ""
    current: str | None = None
    raised: dict[int, Ending] = field(default_factory=dict)
    """Rank to the ending that its exception would be, in the order in which they raised."""
    deaths: int = 0
    """Deaths before the lane had taken a run."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Ray's name of each node that its ranks are on to that of the machine."""
    is_down: bool = False
    """Whether its processes are ended, and nobody brings back what it trains."""
    cause: str = ""
    """Of the death of a rank, until it is known what it was; empty while all live."""
    served: list[str] = field(default_factory=list)
    """Assignments of this generation, in order: every rank asks for the n-th itself, so that no
    rank waits inside a collective while there is nothing to do."""
