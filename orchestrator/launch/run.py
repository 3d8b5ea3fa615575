"""Plans -> lanes -> journal, with or without a search; and what Ctrl-C does to it."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InfeasibleError, LostRayError, MachinesChangedError
from orchestrator.launch.cluster import running_ray
from orchestrator.launch.devices import Patience
from orchestrator.launch.failures import first_line
from orchestrator.launch.relocation import MachineWatch
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.search_plan import SearchPlan

if TYPE_CHECKING:
    from orchestrator.launch.lanes import BrokerHandle, Lanes

RAY_FOLDER: Final = "ray"
LOGS: Final = "logs"
"""Where Ray's own files lie in a search's folder, and its logs below them."""
_TICK_S: Final = 0.1
_GRACE_S: Final = 30.0
"""How long runs may take to write a checkpoint after Ctrl-C until they are left behind."""
_PAUSE_S: Final = 120.0
"""How long they may take to write one before lanes are placed anew."""
_FAREWELL_S: Final = 3.0
"""How long lanes may take to go home."""
_TUNE_S: Final = 120.0
"""How long Tune may take to notice that its broker is dead; it does within a second, but for a
machine that is overloaded, or while Tune starts."""


@dataclass
class Launched:
    """A search that is being trained."""

    plan: SearchPlan
    broker: "BrokerHandle"
    lanes: "Lanes"
    endings: Mapping[str, Mapping[str, Any]]
    """Of the runs that need not be trained."""
    parts: Mapping[str, int]
    """Of a batch, of runs that were found to need several."""
    patience: Patience
    machines: MachineWatch | None
    """Of a cluster; None where Ray is ours, on this machine."""
    _failures: list[BaseException] = field(default_factory=list)
    _stopping: bool = False
    _change: str = ""
    """Why the lanes must be placed anew; empty while they stand well."""
    _is_settled: bool = False
    """Whether the broker has answered once."""

    def wait(self, tick: Callable[[], None]) -> bool:
        """Wait until every run has ended.

        Args:
            tick: Called about ten times a second, to follow the journal.

        Returns:
            Whether the runs were left to end by themselves; False after Ctrl-C.
        """
        submitting = threading.Thread(target=self._submit, name="search", daemon=True)
        submitting.start()
        try:
            _tick_until(
                tick,
                lambda: (
                    bool(self._find_loss() or self._find_change()) or not submitting.is_alive()
                ),
            )
            if self._change:
                self._pause(tick)
        except KeyboardInterrupt:
            self._stopping = True
            self.broker.tell("stop", timeout_s=_GRACE_S)
            deadline = time.monotonic() + _GRACE_S
            _tick_until(tick, lambda: not submitting.is_alive() or time.monotonic() > deadline)
            self.broker.tell("abandon", timeout_s=_GRACE_S)
            tick()
            return False
        tick()
        if submitting.is_alive():
            loss = self._find_loss() or self._change
            # Tune, which waits for the broker, must have ended before its Ray does: it would
            # meddle with the next one.
            self.broker.kill()
            submitting.join(_TUNE_S)
            if submitting.is_alive():
                raise InfeasibleError(f"{loss}, and Tune does not end; run it again")
            if self._change:
                raise MachinesChangedError(loss, self.machines.room if self.machines else None)
            raise LostRayError(loss)
        for failure in self._failures:
            raise failure
        return True

    def _find_loss(self) -> str:
        """What has died that nothing here can go on without; empty while all is well."""
        return self.lanes.lost or ("the broker died" if self.broker.has_died() else "")

    def _find_change(self) -> str:
        """Why the lanes must be placed anew; empty while they stand well."""
        if not self._change and self.machines is not None and self._is_settled:
            self._change = self.machines.find_change()
            if shortage := self.machines.find_shortage():
                self.patience.told(shortage)
        return self._change

    def _pause(self, tick: Callable[[], None]) -> None:
        """Let the lanes that still can write a checkpoint, before all are placed anew."""
        import ray

        assert self.machines is not None
        paused = self.broker.actor.pause.remote(
            list(self.machines.lost), list(self.machines.doomed)
        )
        deadline = time.monotonic() + _PAUSE_S
        _tick_until(
            tick,
            lambda: bool(ray.wait([paused], timeout=0)[0]) or time.monotonic() > deadline,
        )

    def _submit(self) -> None:
        try:
            process = self.broker.ask("settle", dict(self.endings), dict(self.parts))
            self._is_settled = True
            self.broker.process = 0 if self.lanes.joined else process
            if self.plan.is_search:
                self._begin_early()
                if self._stopping:
                    return
                from orchestrator.launch.search import search

                search(self.plan, self.broker, folder=self.plan.folder / RAY_FOLDER)
            else:
                self.broker.ask("train", [run.to_json() for run in self.plan.runs])
        except Exception as error:  # noqa: BLE001  raised again by `wait`, on the main thread
            # Ray's own: the broker or the whole Ray has died.
            lost = type(error).__module__.startswith("ray.")
            cause = f"Ray broke off: {first_line(error)}"
            if lost and self.lanes.joined and not self._is_settled:
                mode = os.environ.get("RAY_AUTH_MODE", "unset")
                error = InfeasibleError(
                    f"{cause}, before anything had begun; are its nodes started with the same "
                    f"RAY_AUTH_MODE as this command ({mode})?"
                )
                lost = False
            self._failures.append(LostRayError(cause) if lost else error)

    def _begin_early(self) -> None:
        """Queue the first settings' runs, and let them begin before Tune does.

        Tune's import and processes would take the lanes' CPUs just when these start. Its
        clients submit the same runs again, and are given the same endings.
        """
        waiting = [run.to_json() for run in self.plan.runs if run.run_id not in self.endings]
        self.broker.actor.train.remote(waiting[: 2 * len(self.plan.seeds)])
        self.broker.ask("wait_for_training")


@contextmanager
def launch(
    plan: SearchPlan,
    cluster: Cluster,
    endings: Mapping[str, Mapping[str, Any]],
    parts: Mapping[str, int],
    patience: Patience,
) -> Iterator[Launched]:
    """Start Ray, the broker and the lanes of a plan; all of it ends with the block.

    Args:
        plan: The search.
        cluster: What the machines offer.
        endings: Of the runs that need not be trained.
        parts: Of a batch, of runs that were found to need several.
        patience: How long GPUs that other searches hold are waited for.

    Raises:
        InfeasibleError: Another search holds a GPU that the plan names.
    """
    folder = plan.folder / RAY_FOLDER
    beside = _import_lanes()
    devices = dict.fromkeys(seat.device for lane in plan.lanes.seats for seat in lane)
    with running_ray(cluster, devices=list(devices), logs=folder / LOGS), ExitStack() as held:
        beside.join()
        from orchestrator.launch.lanes import Lanes, start_broker
        from orchestrator.launch.reservation import reserved

        held.enter_context(reserved(plan.lanes, f"{plan.name}#{plan.number}", patience))
        broker = start_broker(plan.folder, plan.lanes)
        joined = bool(cluster.address)
        machines = None
        if joined:
            machines = MachineWatch(
                plan.lanes, cluster, broker.list_nodes, broker.count_waiting
            )
            held.callback(machines.close)
        lanes = Lanes(plan.lanes, broker, folder=folder, joined=joined)
        try:
            yield Launched(
                plan=plan,
                broker=broker,
                lanes=lanes,
                endings=endings,
                parts=parts,
                patience=patience,
                machines=machines,
            )
        finally:
            broker.tell("close", timeout_s=_FAREWELL_S)
            lanes.join(timeout_s=_FAREWELL_S)


def _import_lanes() -> threading.Thread:
    """Begin to import Ray Train beside Ray's start: each leaves a core idle."""
    import ray  # noqa: F401  before the thread, which imports parts of it

    thread = threading.Thread(target=import_module, args=("orchestrator.launch.lanes",))
    thread.start()
    return thread


def _tick_until(tick: Callable[[], None], done: Callable[[], bool]) -> None:
    while not done():
        tick()
        time.sleep(_TICK_S)
