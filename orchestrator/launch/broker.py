"""The broker: assignments wait here, reports pass through to the journal, verdicts return.

One asynchronous actor on the driver's node, so that the journal is on the driver's disk. It
knows runs and lanes and nothing of Ray, Tune or torch; `lanes.py` makes an actor of it. A lane
that comes back after a death gets its run again; the death is charged to the run of the rank
that died, and a run is given up at its third charge.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.launch.books import MAX_CHARGES, Ending, LaneBook, Queue, Recorder
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.tracking import journal


class Broker:
    """Runs in, endings out.

    Args:
        folder: The search's folder, where the journal is.
        lanes: Names of the lanes that will join.
    """

    def __init__(self, folder: str, lanes: Sequence[str]) -> None:
        self._recorder = Recorder(Path(folder))
        self._queue = Queue()
        self._runs = self._queue.runs
        self._lanes = {lane: LaneBook() for lane in lanes}
        self._changed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._training = asyncio.Event()
        self._closed = False
        self._failure = ""

    # What the driver and Tune's clients ask

    async def train(self, plans: Sequence[Mapping[str, Any]]) -> list[Ending]:
        """Queue runs and wait until all have ended; a run already known is only awaited.

        Args:
            plans: Run plans as plain JSON values.

        Returns:
            The endings in the order of the plans: `status`, `metrics`, `error`, ….
        """
        runs = [self._queue.submit(RunPlan.from_json(values)) for values in plans]
        if self._stopping.is_set() or self._failure:
            self._end_waiting()
        await self._notify()
        return list(await asyncio.gather(*(asyncio.shield(run.ending) for run in runs)))

    async def settle(self, endings: Mapping[str, Ending]) -> None:
        """Know runs that need not be trained, by the endings that they have had."""
        self._queue.settle(endings)

    async def wait_for_training(self) -> None:
        """Return once a run has reported its first epoch, or has ended."""
        await self._training.wait()

    async def stop(self) -> None:
        """Let nothing new begin and ask what is running to stop at its next step or epoch."""
        self._stopping.set()
        self._end_waiting()
        await self._notify()

    async def abandon(self) -> None:
        """End every run that has not ended: nobody will hear of it again."""
        self._stopping.set()
        self._end_all(status="stopped", error="stopped before it had finished")
        await self._notify()

    async def close(self) -> None:
        """Send the lanes home once the queue is empty."""
        self._closed = True
        await self._notify()

    async def fail(self, cause: str) -> None:
        """No lane is left: every run that has not ended fails with this cause."""
        self._failure = cause
        self._end_all(status="failed", error=cause)
        await self._notify()

    # What lanes ask

    async def join(self, lane: str, generation: str, facts: Mapping[str, Any]) -> None:
        """A lane's ranks are up, for the first time or again after a death.

        Args:
            lane: The lane's name.
            generation: Distinguishes these processes from those before a death.
            facts: What the journal shall know of them: versions, device, process ids.
        """
        self._write(journal.LANE, lane=lane, facts=dict(facts))
        self._take_back(lane)
        self._lanes[lane] = LaneBook(generation)
        await self._notify()

    async def next_assignment(self, lane: str, generation: str, index: int) -> str | None:
        """The index-th assignment of this lane's generation, as JSON; None to go home."""
        async with self._changed:
            while True:
                here = self._lanes[lane]
                if here.generation != generation:
                    return None
                if index < len(here.served):
                    return here.served[index]
                if here.current is None and self._queue:
                    return self._assign(lane, here)
                if self._closed:
                    return None
                await self._changed.wait()

    async def report(
        self, lane: str, generation: str, run_id: str, epoch: int, metrics: Mapping[str, float]
    ) -> str:
        """Keep one epoch's metrics; `stop` where the run shall not go on."""
        if self._is_stale(lane, generation, run_id):
            return "stop"
        self._write(journal.EPOCH, run=run_id, epoch=epoch, metrics=dict(metrics))
        self._training.set()
        return "stop" if self._stopping.is_set() else "continue"

    async def note(
        self, lane: str, generation: str, run_id: str, note: Mapping[str, Any]
    ) -> None:
        """Keep what else there is to say of a run, such as where it went on from."""
        if not self._is_stale(lane, generation, run_id):
            self._write(journal.NOTE, run=run_id, **note)

    async def finish(self, lane: str, generation: str, run_id: str, ending: Ending) -> None:
        """A lane is done with a run, one way or the other."""
        if self._is_stale(lane, generation, run_id):
            return
        self._end(run_id, **ending)
        await self._notify()

    async def wait_for_stop(self) -> None:
        """Return once everything shall stop."""
        await self._stopping.wait()

    async def note_exception(
        self, lane: str, generation: str, run_id: str, rank: int, ending: Ending
    ) -> None:
        """A rank among several raised, by itself or because a peer had died: `charge` tells."""
        if not self._is_stale(lane, generation, run_id):
            self._lanes[lane].raised[rank] = ending

    async def charge(self, lane: str, ranks: Sequence[int], cause: str) -> None:
        """These ranks of a lane are gone: its run is charged, or has failed if all had raised.

        A lane that dies again and again before it can train would be restarted for ever.
        """
        here = self._lanes[lane]
        if here.current is None:
            here.deaths += not here.served
            if here.deaths >= MAX_CHARGES:
                await self.fail(
                    f"{lane} died {here.deaths} times before it could train: {cause}"
                )
        elif here.raised.keys() >= set(ranks):
            self._end(here.current, **next(iter(here.raised.values())))
            await self._notify()
        else:
            self._runs[here.current].charges += 1

    async def leave(self, lanes: Sequence[str], cause: str) -> None:
        """These lanes will not come back: others get their runs; without others all fail."""
        for lane in lanes:
            self._take_back(lane)
            del self._lanes[lane]
        if not self._lanes:
            await self.fail(cause)
        await self._notify()

    # How it keeps books

    def _is_stale(self, lane: str, generation: str, run_id: str) -> bool:
        here = self._lanes[lane]
        return here.generation != generation or here.current != run_id

    def _take_back(self, lane: str) -> None:
        """Queue again what a lane was training when it died, or give it up."""
        interrupted = self._lanes[lane].current
        if interrupted is None or self._runs[interrupted].ending.done():
            return
        run = self._runs[interrupted]
        if run.charges >= MAX_CHARGES:
            error = f"its worker died {run.charges} times while training it"
            self._end(interrupted, status="failed", error=error)
        elif self._stopping.is_set():
            self._end(interrupted, status="stopped", error="stopped before it had finished")
        else:
            self._queue.put_back(interrupted)

    def _assign(self, lane: str, here: LaneBook) -> str:
        run = self._queue.take()
        run_id = run.plan.run_id
        run.attempts += 1
        run.started = time.time()
        here.current = run_id
        here.served.append(Assignment(plan=run.plan, attempt=run.attempts).to_json())
        self._write(journal.START, run=run_id, lane=lane, attempt=run.attempts)
        self._changed.notify_all()
        return here.served[-1]

    def _end(self, run_id: str, *, status: str, **values: Any) -> None:  # noqa: ANN401
        run = self._runs[run_id]
        if run.ending.done():
            return
        self._queue.drop(run_id)
        for lane in self._lanes.values():
            if lane.current == run_id:
                lane.current = None
        duration = time.time() - run.started if run.started else 0.0
        ending = {"status": status, "metrics": {}, "weights_sha256": "", "error": "", **values}
        self._write(journal.END, run=run_id, duration_s=duration, **ending)
        if not run.ending.done():
            run.ending.set_result(ending)
        self._training.set()

    def _end_all(self, *, status: str, error: str) -> None:
        for run_id in self._runs:
            self._end(run_id, status=status, error=error)

    def _end_waiting(self) -> None:
        failed = self._failure
        for run_id in self._queue:
            if failed:
                self._end(run_id, status="failed", error=failed)
            else:
                self._end(run_id, status="stopped", error="stopped before it began")

    def _write(self, kind: str, **values: Any) -> None:  # noqa: ANN401
        """Journal an entry; without a disk nothing more can count, and all ends."""
        lost = self._recorder.write(kind, **values)
        if lost and not self._failure:
            self._failure = lost
            self._stopping.set()
            self._end_all(status="failed", error=lost)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
