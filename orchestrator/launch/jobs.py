"""The Ray Train jobs behind the lanes: which there are, and what each is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback

from orchestrator.launch.environment import WORKER_SETTINGS
from orchestrator.launch.failures import last_line
from orchestrator.planning.lanes import LanePlan, Seat, group_by_node

BROKER_NAMESPACE = "orchestrator"


@dataclass(frozen=True, kw_only=True)
class JobShape:
    """One Ray Train job."""

    name: str
    lanes: Mapping[int, str]
    """World rank to the name of its lane."""
    seats: tuple[Seat, ...]
    """Of each rank; empty where Ray places them by themselves."""


def divide_into_jobs(plan: LanePlan) -> list[JobShape]:
    """Lanes of one worker share a job on each node that is named; others have their own."""
    names = [f"lane {index}" for index in range(plan.lanes)]
    if plan.workers > 1:
        shared = [[name] * plan.workers for name in names]
        seats = list(plan.seats)
    else:
        nodes = [lane[0].node_id for lane in plan.seats] or [""] * plan.lanes
        members = [
            [index for index, node in enumerate(nodes) if node == one]
            for one in dict.fromkeys(nodes)
        ]
        shared = [[names[index] for index in indices] for indices in members]
        seats = [
            tuple(plan.seats[index][0] for index in indices)
            for indices in members
            if plan.seats
        ]
    return [
        JobShape(
            name=f"job-{index}",
            lanes=dict(enumerate(lanes)),
            seats=seats[index] if seats else (),
        )
        for index, lanes in enumerate(shared)
    ]


def build_job(
    plan: LanePlan, shape: JobShape, broker: str, folder: Path, *, joined: bool
) -> Any:  # noqa: ANN401  Ray's trainers are untyped
    """A Ray Train job that serves its lanes until the broker sends them home.

    Args:
        plan: What every lane consists of.
        shape: Which lanes.
        broker: Its name, where assignments are taken from.
        folder: Where Ray Train keeps its own files.
        joined: Whether the Ray was running before and goes on after us.
    """
    resources: dict[str, float] = {"CPU": plan.cpus_per_worker}
    if plan.gpus_per_worker:
        resources["GPU"] = plan.gpus_per_worker
    devices = group_by_node(shape.seats)
    nodes = [{"ray.io/node-id": seat.node_id} for seat in shape.seats if seat.node_id]
    return _build_trainer(plan, devices, joined=joined)(
        serve_lane,
        train_loop_config={
            "broker": broker,
            "lanes": dict(shape.lanes),
            "threads": plan.cpus_per_worker,
            "deterministic": plan.deterministic,
            "device": plan.device,
            "devices": devices,
        },
        scaling_config=ScalingConfig(
            num_workers=len(shape.lanes),
            use_gpu=plan.gpus_per_worker > 0,
            resources_per_worker=resources,
            placement_strategy=plan.placement.upper(),
            label_selector=nodes or None,
        ),
        run_config=RunConfig(
            name=shape.name,
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=-1),
            callbacks=[_ChargeDeaths(broker, shape.lanes)],
            # A Ray that we started has our environment; one that was joined has not.
            worker_runtime_env={"env_vars": WORKER_SETTINGS} if joined else {},
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


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
        # Ray Train ends the workers of the whole job, and begins it anew.
        ray.get([*charges, broker.fall.remote(sorted(set(self._lanes.values())))])


def _build_trainer(
    plan: LanePlan, devices: Mapping[str, tuple[str, ...]], *, joined: bool
) -> Any:  # noqa: ANN401
    # Each is one more process of 2 to 3 CPU seconds. No lane reads Ray Data, and what a dead
    # controller would leave behind in a Ray of our own ends with that Ray.
    spared = {"DatasetsCallback"} | (set() if joined else {"PlacementGroupCleanerCallback"})
    arguments: dict[str, Any] = {}
    if plan.workers == 1:
        # Knows no torch: neither driver nor controller imports it, and no process group of
        # workers that never speak to one another is set up.
        from ray.train.v2.api.data_parallel_trainer import (
            DataParallelTrainer as Trainer,
        )
    else:
        from ray.train.torch import TorchTrainer as Trainer

        from orchestrator.launch.backend import PinnedTorchConfig

        arguments["torch_config"] = PinnedTorchConfig(backend=plan.backend, devices=devices)

    class LeanTrainer(Trainer):  # type: ignore[misc]  # Ray ships no types
        def _create_default_callbacks(self) -> list[Any]:
            return [
                callback
                for callback in super()._create_default_callbacks()
                if type(callback).__name__ not in spared
            ]

    return partial(LeanTrainer, **arguments)


def serve_lane(config: dict[str, Any]) -> None:
    """What Ray Train calls on every worker; found by import, never pickled."""
    # torch is imported on the worker only.
    from orchestrator.launch.worker import serve

    serve(config)


def find_node() -> str:
    """Ray's name of the node on which this is called."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def find_own(devices: Mapping[str, Sequence[str]], node: str) -> Sequence[str]:
    """The GPUs of a job's workers on a node; empty where Ray gives them by number."""
    return devices.get(node, devices.get("", ()))
