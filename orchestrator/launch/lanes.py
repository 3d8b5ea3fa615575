"""Lanes: long-lived Ray Train jobs whose ranks take assignments, one after another.

Starting a Ray Train job costs seconds, so a lane pays once and then trains run after run. Lanes
of one worker share a job, which saves a controller each; a lane of several workers is a job of
its own, whose process group Ray Train sets up once. Jobs restart without limit: what may be
tried again is the broker's decision.
"""

import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.train import (
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    UserCallback,
)

from orchestrator.launch.broker import Broker
from orchestrator.launch.environment import WORKER_SETTINGS
from orchestrator.launch.failures import first_line, last_line
from orchestrator.planning.placement import LanePlan

BROKER_NAMESPACE = "orchestrator"


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
        for index, ranks in enumerate(_divide_into_jobs(plan)):
            job = _build_job(plan, index, ranks, broker.name, folder, joined=joined)
            thread = threading.Thread(
                target=self._run_job,
                args=(job, sorted(set(ranks.values()))),
                name=f"job-{index}",
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)

    def join(self, timeout_s: float) -> None:
        """Wait until the jobs have ended, all of them for this long at most.

        What they end of afterwards is nobody's concern: their Ray has gone.
        """
        self._left = True
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run_job(self, job: Any, lanes: list[str]) -> None:  # noqa: ANN401
        try:
            job.fit()
        except Exception as error:  # noqa: BLE001  whatever ended the job, its runs must end
            if self._left:
                return
            cause = f"the Ray Train job ended: {first_line(error)}"
            if isinstance(error, ray.exceptions.RayActorError):
                # Its controller was killed, and what it had reserved stays reserved.
                self.lost = cause
            else:
                self._broker.actor.leave.remote(lanes, cause)


class _ChargeDeaths(UserCallback):  # type: ignore[misc]  # Ray ships no types
    """Tells the broker which ranks died; runs in the job's controller."""

    def __init__(self, broker: str, lanes: Mapping[int, str]) -> None:
        self._broker = broker
        self._lanes = lanes

    def after_exception(
        self,
        run_context: Any,  # noqa: ANN401, ARG002
        worker_exceptions: dict[int, Exception],
    ) -> None:
        broker = ray.get_actor(self._broker, namespace=BROKER_NAMESPACE)
        # One death may be seen by every rank of a lane: it counts once.
        gone: dict[str, dict[int, Exception]] = {}
        for rank, error in worker_exceptions.items():
            gone.setdefault(self._lanes[rank], {})[rank] = error
        charges = [
            broker.charge.remote(lane, list(errors), last_line(next(iter(errors.values()))))
            for lane, errors in gone.items()
        ]
        ray.get(charges)


def _divide_into_jobs(plan: LanePlan) -> list[dict[int, str]]:
    """World rank to lane, for every job."""
    if plan.workers == 1:
        return [{rank: f"lane {rank}" for rank in range(plan.lanes)}]
    return [dict.fromkeys(range(plan.workers), f"lane {index}") for index in range(plan.lanes)]


def _build_job(
    plan: LanePlan,
    index: int,
    lanes: Mapping[int, str],
    broker: str,
    folder: Path,
    *,
    joined: bool,
) -> Any:  # noqa: ANN401
    resources: dict[str, float] = {"CPU": plan.cpus_per_worker}
    if plan.gpus_per_worker:
        resources["GPU"] = plan.gpus_per_worker
    return _trainer_class(shared=plan.workers == 1, joined=joined)(
        serve_lane,
        train_loop_config={
            "broker": broker,
            "lanes": dict(lanes),
            "threads": plan.cpus_per_worker,
            "deterministic": plan.deterministic,
            "device": plan.device,
        },
        scaling_config=ScalingConfig(
            num_workers=len(lanes),
            use_gpu=plan.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=f"job-{index}",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=-1),
            callbacks=[_ChargeDeaths(broker, lanes)],
            # A Ray that we started has our environment; one that was joined has not.
            worker_runtime_env={"env_vars": WORKER_SETTINGS} if joined else {},
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _trainer_class(*, shared: bool, joined: bool) -> Any:  # noqa: ANN401
    # Each is one more process of 2 to 3 CPU seconds. No lane reads Ray Data, and what a dead
    # controller would leave behind in a Ray of our own ends with that Ray.
    spared = {"DatasetsCallback"} | (set() if joined else {"PlacementGroupCleanerCallback"})
    if shared:
        # Knows no torch: neither driver nor controller imports it, and no process group of
        # workers that never speak to one another is set up.
        from ray.train.v2.api.data_parallel_trainer import (
            DataParallelTrainer as Trainer,
        )
    else:
        from ray.train.torch import TorchTrainer as Trainer

    class LeanTrainer(Trainer):  # type: ignore[misc]  # Ray ships no types
        def _create_default_callbacks(self) -> list[Any]:
            return [
                callback
                for callback in super()._create_default_callbacks()
                if type(callback).__name__ not in spared
            ]

    return LeanTrainer


def serve_lane(config: dict[str, Any]) -> None:
    """What Ray Train calls on every worker; found by import, never pickled."""
    # torch is imported on the worker only.
    from orchestrator.launch.worker import serve

    serve(config)
