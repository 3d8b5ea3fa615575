"""The broker: assignments wait here, reports pass through to the journal, verdicts return.

One asynchronous actor on the driver's node, so that the journal is on the driver's disk. It
knows runs and lanes and nothing of Ray, Tune or torch; `lanes.py` makes an actor of it. A lane
that comes back after a death gets its run again; the death is charged to the run of the rank
that died, and a run is given up at its third charge.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.launch.books import Ending
from orchestrator.launch.ledger import Ledger


class Broker:
    """Runs in, endings out.

    Args:
        folder: The search's folder, where the journal is.
        lanes: Names of the lanes that will join.
    """

    def __init__(self, folder: str, lanes: Sequence[str]) -> None:
        self._ledger = Ledger(Path(folder), lanes)
        self._changed = asyncio.Condition()
        self._closed = False

    # What the driver and Tune's clients ask

    async def train(self, plans: Sequence[Mapping[str, Any]]) -> list[Ending]:
        """Queue runs and wait until all have ended; a run already known is only awaited.

        Args:
            plans: Run plans as plain JSON values.

        Returns:
            The endings in the order of the plans: `status`, `metrics`, `error`, ….
        """
        runs = self._ledger.submit(plans)
        await self._notify()
        return list(await asyncio.gather(*(asyncio.shield(run.ending) for run in runs)))

    async def settle(self, endings: Mapping[str, Ending], parts: Mapping[str, int]) -> int:
        """Know what an earlier broker has come to; arguments as for `Queue.settle`.

        Returns:
            The id of the broker's process, for who watches it.
        """
        self._ledger.queue.settle(endings, parts)
        return os.getpid()

    async def wait_for_training(self) -> None:
        """Return once a run has reported its first epoch, or has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ledger.has_trained)

    async def list_nodes(self) -> tuple[dict[str, str], bool]:
        """Where the lanes' ranks are, and whether every lane is up, or was.

        Returns:
            Ray's name of each node to that of the machine.
        """
        lanes = self._ledger.lanes.values()
        nodes = {key: name for lane in lanes for key, name in lane.nodes.items()}
        return nodes, all(lane.generation for lane in lanes)

    async def count_waiting(self) -> int:
        """How many runs wait for a lane."""
        return len(list(self._ledger.queue))

    async def pause(self, lost: Sequence[str], doomed: Sequence[str]) -> None:
        """Let every lane write a checkpoint and stop; return once all have that still can.

        What is trained on a machine that is taken away is preempted, which is no death.

        Args:
            lost: Ray's names of the nodes that are gone.
            doomed: Of those that will go.
        """
        ledger = self._ledger
        dead = ledger.find_lanes(lost)
        for lane in dead:
            ledger.note_preemption(lane, "its machine is gone")
        for lane in ledger.find_lanes(doomed) - dead:
            ledger.note_preemption(lane, "its machine will be taken away")
        ledger.dismiss()
        await self._notify()
        async with self._changed:
            await self._changed.wait_for(
                lambda: all(
                    lane in dead or here.is_down or here.current is None
                    for lane, here in ledger.lanes.items()
                )
            )

    async def stop(self) -> None:
        """Let nothing new begin and ask what is running to stop at its next step or epoch."""
        self._ledger.stop(at_once=False)
        await self._notify()

    async def abandon(self) -> None:
        """End every run that has not ended: nobody will hear of it again."""
        self._ledger.stop(at_once=True)
        await self._notify()

    async def close(self) -> None:
        """Send the lanes home once the queue is empty."""
        self._closed = True
        await self._notify()

    # What lanes ask

    async def join(self, lane: str, generation: str, facts: Mapping[str, Any]) -> None:
        """A lane's ranks are up, for the first time or again after a death.

        Args:
            lane: The lane's name.
            generation: Distinguishes these processes from those before a death.
            facts: What the journal shall know of them: versions, device, process ids.
        """
        self._ledger.join(lane, generation, facts)
        await self._notify()

    async def next_assignment(self, lane: str, generation: str, index: int) -> str | None:
        """The index-th assignment of this lane's generation, as JSON; None to go home."""
        async with self._changed:
            while True:
                here = self._ledger.lanes[lane]
                if here.generation != generation:
                    return None
                if index < len(here.served):
                    return here.served[index]
                if here.current is None and self._ledger.queue and not self._ledger.dismissed:
                    assignment = self._ledger.assign(lane)
                    self._changed.notify_all()
                    return assignment
                if self._closed:
                    return None
                await self._changed.wait()

    async def report(
        self, lane: str, generation: str, run_id: str, epoch: int, metrics: Mapping[str, float]
    ) -> str:
        """Keep one epoch's metrics; `stop` where the run shall not go on."""
        if self._ledger.is_stale(lane, generation, run_id):
            return "stop"
        is_first = not self._ledger.has_trained
        self._ledger.report(run_id, epoch, metrics)
        shall_stop = self._shall_stop(lane, generation)
        if is_first or shall_stop:
            await self._notify()
        return "stop" if shall_stop else "continue"

    async def note(
        self, lane: str, generation: str, run_id: str, note: Mapping[str, Any]
    ) -> None:
        """Keep what else there is to say of a run, such as where it went on from."""
        if not self._ledger.is_stale(lane, generation, run_id):
            self._ledger.note(run_id, note)

    async def finish(self, lane: str, generation: str, run_id: str, ending: Ending) -> None:
        """A lane is done with a run, one way or the other."""
        if not self._ledger.is_stale(lane, generation, run_id):
            self._ledger.end_attempt(run_id, ending)
            await self._notify()

    async def wait_for_stop(self, lane: str, generation: str) -> None:
        """Return once everything shall stop, or this generation of a lane."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._shall_stop(lane, generation))

    async def note_exception(
        self, lane: str, generation: str, run_id: str, rank: int, ending: Ending
    ) -> None:
        """A rank among several raised, by itself or because a peer had died: `charge` tells."""
        if not self._ledger.is_stale(lane, generation, run_id):
            self._ledger.lanes[lane].raised[rank] = ending

    async def fall(self, lanes: Sequence[str]) -> None:
        """These lanes' processes end together, as a rank of one is gone; all may come again."""
        for lane in lanes:
            if lane in self._ledger.lanes:
                self._ledger.lanes[lane].is_down = True
        await self._notify()

    async def charge(self, lane: str, ranks: Sequence[int], cause: str) -> None:
        """These ranks of a lane are gone: its run is charged; it has failed if all raised."""
        self._ledger.charge(lane, ranks, cause)
        await self._notify()

    async def leave(self, lanes: Sequence[str], cause: str) -> None:
        """These lanes will not come back: others get their runs; without others all fail."""
        self._ledger.leave(lanes, cause)
        await self._notify()

    def _shall_stop(self, lane: str, generation: str) -> bool:
        here = self._ledger.lanes.get(lane)
        is_stale = here is None or here.generation != generation
        return self._ledger.stopping or self._ledger.dismissed or is_stale

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
