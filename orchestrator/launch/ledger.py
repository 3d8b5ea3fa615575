"""The ledger of a search: which run waits, which lane trains which, and how each has ended.

Plain book-keeping, without waiting: the broker asks it, and tells whoever waits.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.launch.books import (
    MAX_CHARGES,
    OUT_OF_MEMORY,
    Ending,
    LaneBook,
    Queue,
    Recorder,
    RunBook,
)
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.tracking import journal
from orchestrator.tracking.mirror import address_of


class Ledger:
    """The books of a search.

    Args:
        folder: The search's folder, where the journal is.
        lanes: Names of the lanes that will join.
    """

    def __init__(self, folder: Path, lanes: Sequence[str]) -> None:
        self.queue = Queue()
        self.lanes = {lane: LaneBook() for lane in lanes}
        self.stopping = False
        """Whether nothing new may begin."""
        self.dismissed = False
        """Whether what is trained comes back, for other lanes to go on with."""
        self.has_trained = False
        """Whether some run has reported an epoch, or has ended."""
        self._runs = self.queue.runs
        self._recorder = Recorder(folder)
        self._failure = ""
        self._store = address_of(folder.parents[1])

    def submit(self, plans: Sequence[Mapping[str, Any]]) -> list[RunBook]:
        """Queue runs; one that is known already is only returned."""
        runs = [self.queue.submit(RunPlan.from_json(values)) for values in plans]
        if self.stopping or self._failure:
            self._end_waiting()
        return runs

    def stop(self, *, at_once: bool) -> None:
        """Let nothing new begin; end what waits, or all that there is."""
        self.stopping = True
        self._end_waiting()
        if at_once:
            error = "stopped before it had finished"
            self._end_runs(self._runs, status="stopped", error=error)

    def fail(self, cause: str) -> None:
        """Nothing can train any more: every run that has not ended fails."""
        self._failure = cause
        self._end_runs(self._runs, status="failed", error=cause)

    def join(self, lane: str, generation: str, facts: Mapping[str, Any]) -> None:
        """A lane's processes are up; what those before them were training waits again."""
        self._write(journal.LANE, lane=lane, facts=dict(facts))
        self._take_back(lane)
        self.lanes[lane] = LaneBook(generation, nodes=facts.get("nodes", {}))

    def leave(self, lanes: Sequence[str], cause: str) -> None:
        """These lanes will not come back: others get their runs; without others all fail."""
        for lane in lanes:
            self._take_back(lane)
            del self.lanes[lane]
        if not self.lanes:
            self.fail(cause)

    def assign(self, lane: str) -> str:
        """Give a lane the next run; the assignment as JSON."""
        here, run = self.lanes[lane], self.queue.take()
        run.attempts += 1
        run.started = time.time()
        here.current = run.plan.run_id
        assignment = Assignment(
            plan=run.plan, attempt=run.attempts, parts=run.parts, store=self._store
        )
        here.served.append(assignment.to_json())
        # A rank asks for the next once all have this one: what is older is not kept.
        here.served[:-2] = [""] * (len(here.served) - 2)
        self._write(journal.START, run=here.current, lane=lane, attempt=run.attempts)
        return here.served[-1]

    def report(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep one epoch's metrics."""
        self._write(journal.EPOCH, run=run_id, epoch=epoch, metrics=dict(metrics))
        self.has_trained = True

    def note(self, run_id: str, note: Mapping[str, Any]) -> None:
        """Keep what else there is to say of a run."""
        self._write(journal.NOTE, run=run_id, **note)
        if note["note"] == "parts":
            # What was found to fit once is not sought again after a death.
            self._runs[run_id].parts = note["parts"]

    def end_attempt(self, run_id: str, ending: Ending) -> None:
        """End a run, or try it again with smaller parts of a batch."""
        last: Ending | None = ending
        if ending["status"] == OUT_OF_MEMORY:
            last = self._runs[run_id].end_of_memory(ending, stopping=self.stopping)
        elif ending["status"] == "stopped" and not self.stopping:
            # Its lane was dismissed; another goes on with it.
            last = None
        self._end_or_requeue(run_id, last)

    def dismiss(self) -> None:
        """Let the lanes bring back what they train, with checkpoints, and take nothing more."""
        self.dismissed = True

    def find_lanes(self, nodes: Iterable[str]) -> set[str]:
        """The lanes that have a rank on one of these nodes."""
        return {lane for lane, here in self.lanes.items() if {*nodes} & here.nodes.keys()}

    def note_preemption(self, lane: str, why: str) -> None:
        """What a lane trains has lost its machine, or is about to: no fault of its own."""
        here = self.lanes[lane]
        here.cause = ""
        if here.current is not None:
            self._write(journal.NOTE, run=here.current, note="preempted", why=why)

    def charge(self, lane: str, ranks: Sequence[int], cause: str) -> None:
        """These ranks of a lane are gone: its run is charged, or has failed if all had raised.

        A lane that dies again and again before it can train would be restarted for ever.
        """
        here = self.lanes[lane]
        if here.current is None:
            here.deaths += not here.served
            if here.deaths >= MAX_CHARGES:
                self.fail(f"{lane} died {here.deaths} times before it could train: {cause}")
        elif here.raised.keys() >= set(ranks):
            self.end_attempt(here.current, next(iter(here.raised.values())))
        else:
            self._runs[here.current].charges += 1
            here.cause = cause

    def is_stale(self, lane: str, generation: str, run_id: str) -> bool:
        """Whether who speaks is not the one that trains a run now."""
        here = self.lanes[lane]
        return here.generation != generation or here.current != run_id

    def _take_back(self, lane: str) -> None:
        """Queue again what a lane was training when it died, or give it up."""
        interrupted = self.lanes[lane].current
        if interrupted is not None and not self._runs[interrupted].ending.done():
            cause = self.lanes[lane].cause
            if cause:
                self._write(journal.NOTE, run=interrupted, note="died", why=cause)
            ending = self._runs[interrupted].end_of_death(cause, stopping=self.stopping)
            self._end_or_requeue(interrupted, ending)

    def _end_or_requeue(self, run_id: str, ending: Ending | None) -> None:
        if ending is not None:
            self._end(run_id, **ending)
        else:
            self._free(run_id)
            self.queue.put_back(run_id)

    def _free(self, run_id: str) -> None:
        """No lane trains a run any more."""
        for lane in self.lanes.values():
            if lane.current == run_id:
                lane.current = None

    def _end(self, run_id: str, *, status: str, **values: Any) -> None:  # noqa: ANN401
        run = self._runs[run_id]
        if run.ending.done():
            return
        self.queue.drop(run_id)
        self._free(run_id)
        duration = time.time() - run.started if run.started else 0.0
        ending = {"status": status, "metrics": {}, "weights_sha256": "", "error": "", **values}
        self._write(journal.END, run=run_id, duration_s=duration, **ending)
        if not run.ending.done():
            run.ending.set_result(ending)
        self.has_trained = True

    def _end_runs(self, runs: Iterable[str], *, status: str, error: str) -> None:
        for run_id in list(runs):
            self._end(run_id, status=status, error=error)

    def _end_waiting(self) -> None:
        why = self._failure or "stopped before it began"
        status = "failed" if self._failure else "stopped"
        self._end_runs(self.queue, status=status, error=why)

    def _write(self, kind: str, **values: Any) -> None:  # noqa: ANN401
        """Journal an entry; without a disk nothing more can count, and all ends."""
        lost = self._recorder.write(kind, **values)
        if lost and not self._failure:
            self.stopping = True
            self.fail(lost)
