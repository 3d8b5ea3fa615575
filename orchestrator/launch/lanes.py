"""Lanes: long-lived Ray Train jobs whose ranks take assignments, one after another.

Starting a Ray Train job costs seconds, so a lane pays once and then trains run after run. Lanes
of one worker share a job, which saves a controller each; a lane of several workers is a job of
its own, whose process group Ray Train sets up once. Jobs restart without limit: what may be
tried again is the broker's decision.
"""

import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import ray

from orchestrator.launch.broker import Broker
from orchestrator.launch.failures import first_line
from orchestrator.launch.jobs import BROKER_NAMESPACE, build_job, divide_into_jobs
from orchestrator.planning.lanes import LanePlan

_ANSWER_S: Final = 5.0
_KILLED_S: Final = 15.0
"""How long the end of a job's controller may take to be noticed."""


def start_broker(folder: Path, plan: LanePlan) -> "BrokerHandle":
    """Start the broker on this node, beside the driver's disk.

    Args:
        folder: The search's folder.
        plan: The lanes that it will serve.
    """
    name = f"broker-{uuid.uuid4().hex[:12]}"
    here = ray.get_runtime_context().get_node_id()
    actor = (
        ray.remote(Broker)
        .options(
            name=name,
            namespace=BROKER_NAMESPACE,
            num_cpus=0,
            max_concurrency=10_000,
            label_selector={"ray.io/node-id": here},
        )
        .remote(str(folder), [f"lane {index}" for index in range(plan.lanes)])
    )
    return BrokerHandle(name, actor)


class BrokerHandle:
    """The broker as the driver sees it."""

    def __init__(self, name: str, actor: Any) -> None:  # noqa: ANN401  Ray's handles are untyped
        self.name = name
        self.actor = actor
        self.process = 0
        """Its process on this machine; 0 where that is not known."""

    def has_died(self) -> bool:
        """Whether its process is gone, of which Ray may tell late."""
        return bool(self.process) and not Path(f"/proc/{self.process}").exists()

    def ask(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:  # noqa: ANN401
        """Call a method of the broker and wait for its answer."""
        return ray.get(getattr(self.actor, method).remote(*arguments), timeout=timeout_s)

    def list_nodes(self) -> tuple[dict[str, str], bool]:
        """As the broker's own; empty where it does not answer."""
        nodes: tuple[dict[str, str], bool] = {}, False
        with suppress(ray.exceptions.RayError):
            nodes = self.ask("list_nodes", timeout_s=_ANSWER_S)
        return nodes

    def count_waiting(self) -> int:
        """As the broker's own; 0 where it does not answer."""
        count = 0
        with suppress(ray.exceptions.RayError):
            count = self.ask("count_waiting", timeout_s=_ANSWER_S)
        return count

    def kill(self) -> None:
        """End the broker; whoever waits for it is told at once."""
        ray.kill(self.actor)

    def tell(self, method: str, *arguments: Any, timeout_s: float) -> None:  # noqa: ANN401
        """Call a method of a broker that may have died, or be too busy to answer in time."""
        with suppress(ray.exceptions.RayError):
            self.ask(method, *arguments, timeout_s=timeout_s)


class Lanes:
    """The running Ray Train jobs behind a number of lanes.

    Args:
        plan: How many lanes, of how many workers, on what.
        broker: Where they take their assignments from.
        folder: Where Ray Train keeps its own files.
        joined: Whether the Ray was running before and goes on after us.
    """

    def __init__(
        self,
        plan: LanePlan,
        broker: BrokerHandle,
        *,
        folder: Path,
        joined: bool,
    ) -> None:
        self.lost = ""
        """Why a job can never end by itself any more; empty while all is well."""
        self.joined = joined
        self._broker = broker
        self._left = False
        self._threads = []
        for shape in divide_into_jobs(plan):
            job = build_job(plan, shape, broker.name, folder, joined=joined)
            thread = threading.Thread(
                target=self._run_job,
                args=(job, sorted(set(shape.lanes.values()))),
                name=shape.name,
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)

    def join(self, timeout_s: float) -> None:
        """Wait until the jobs have ended; end those that do not in this time.

        A thread that still waits for a job while its Ray ends can take this process with it.
        """
        self._left = True
        if not self._wait(timeout_s):
            _kill_controllers()
            self._wait(_KILLED_S)

    def _wait(self, timeout_s: float) -> bool:
        """Whether all jobs have ended, or do so in this time."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run_job(self, job: Any, lanes: list[str]) -> None:  # noqa: ANN401
        try:
            job.fit()
        except Exception as error:  # noqa: BLE001  whatever ended the job, its runs must end
            if self._left:
                return
            # What its controller has raised is told behind a line that says so.
            told = getattr(error, "controller_failure", error)
            cause = f"the Ray Train job ended: {first_line(told)}"
            if isinstance(error, ray.exceptions.RayActorError):
                # Its controller was killed, and what it had reserved stays reserved.
                self.lost = cause
            else:
                self._broker.actor.leave.remote(lanes, cause)


def _kill_controllers() -> None:
    """End the controllers of this driver's jobs, which Ray Train places on this machine.

    It keeps their handles to itself; Ray's table of actors knows their processes.
    """
    job = ray.get_runtime_context().get_job_id()
    for actor in ray._private.state.actors(job_id=ray.JobID.from_hex(job)).values():
        if actor["ActorClassName"] == "TrainController" and actor["State"] == "ALIVE":
            with suppress(ProcessLookupError):
                os.kill(actor["Pid"], signal.SIGKILL)
