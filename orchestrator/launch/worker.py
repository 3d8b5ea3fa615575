"""What runs on a lane's worker: take an assignment, train it, say how it ended, go on."""

import os
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from torch import distributed

from orchestrator.errors import NonFiniteLossError
from orchestrator.launch.books import OUT_OF_MEMORY
from orchestrator.launch.devices import INDEX_VARIABLE, pin
from orchestrator.launch.failures import describe_failure
from orchestrator.launch.jobs import BROKER_NAMESPACE, find_node, find_own
from orchestrator.launch.notice import watch_for_notice
from orchestrator.launch.travel import Luggage
from orchestrator.planning.run_plan import Assignment
from orchestrator.training.context import (
    Verdict,
    WorkerContext,
    configure_process,
    describe_device,
    describe_process,
)
from orchestrator.training.loop import train
from orchestrator.training.memory import OutOfMemoryError, end_memory
from orchestrator.training.result import Result


def serve(config: Mapping[str, Any]) -> None:
    """Train assignments until the broker sends this worker home.

    Args:
        config: `broker`, its name; `lanes`, world rank to lane; `threads`; `deterministic`;
            `device`, cpu or cuda; `devices`, Ray's name of each node to the GPUs of the workers
            there, empty where Ray gives them by number.
    """
    place = ray.train.get_context()
    lane = config["lanes"][place.get_world_rank()]
    alone = sum(other == lane for other in config["lanes"].values()) == 1
    own, local_rank = find_own(config["devices"], find_node()), place.get_local_rank()
    if alone:
        index = pin(own, local_rank, alone=True) if own else 0
    else:
        # Pinned, where it is, before Ray Train set up the process group.
        index = int(os.environ.get(INDEX_VARIABLE, local_rank))
    device = torch.device("cuda", index) if config["device"] == "cuda" else torch.device("cpu")
    configure_process(
        threads=config["threads"], deterministic=config["deterministic"], device=device
    )
    worker = _Worker(
        lane=lane,
        rank=0 if alone else place.get_world_rank(),
        world_size=1 if alone else place.get_world_size(),
        device=device,
        broker=ray.get_actor(config["broker"], namespace=BROKER_NAMESPACE),
    )
    worker.serve()


class _Worker:
    def __init__(
        self,
        *,
        lane: str,
        rank: int,
        world_size: int,
        device: torch.device,
        broker: Any,  # noqa: ANN401  Ray's handles are untyped
    ) -> None:
        self._lane = lane
        self._rank = rank
        self._world_size = world_size
        self._device = device
        self._broker = broker
        self._stop = threading.Event()
        self._at_home = False
        """Whether the broker has sent this worker home."""
        self._generation = self._agree_on_generation()

    def serve(self) -> None:
        watch_for_notice()
        facts = self._facts()
        if self._rank == 0:
            ray.get(self._broker.join.remote(self._lane, self._generation, facts))
        if self._world_size > 1:
            distributed.barrier()
        threading.Thread(target=self._watch_for_stop, daemon=True).start()
        index = 0
        while True:
            text = ray.get(
                self._broker.next_assignment.remote(self._lane, self._generation, index)
            )
            if text is None:
                self._at_home = True
                return
            self._train(Assignment.from_json(text))
            index += 1

    def _train(self, assignment: Assignment) -> None:
        run_id = assignment.plan.run_id

        def report(epoch: int, metrics: Mapping[str, float]) -> Verdict:
            verdict: Verdict = ray.get(
                self._broker.report.remote(
                    self._lane, self._generation, run_id, epoch, dict(metrics)
                )
            )
            return verdict

        luggage = Luggage(assignment)
        context = WorkerContext(
            rank=self._rank,
            world_size=self._world_size,
            device=self._device,
            report=report,
            stop_requested=self._stop.is_set,
            note=lambda note: self._tell("note", run_id, dict(note)),
            copies=luggage.copies,
        )
        ending: dict[str, Any]
        result: Result | None = None
        try:
            luggage.unpack(self._rank)
            result = train(luggage.assignment, context)
            if self._rank == 0:
                luggage.send(result)
            ending = {
                "status": result.status,
                "metrics": dict(result.metrics),
                "weights_sha256": result.weights_sha256,
            }
        except ray.exceptions.RayError:
            # The broker is gone, and with it whoever wanted this run.
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it must be told
            result = None
            ending = self._end_of(error, luggage)
        memory = end_memory(self._device)
        if self._rank == 0:
            if memory:
                self._tell("note", run_id, memory)
            self._finish(run_id, ending, result, luggage)

    def _end_of(self, error: Exception, luggage: Luggage) -> dict[str, Any]:
        """What an exception means for the run; raises it again where others train with us."""
        alone = self._world_size == 1
        if not alone and is_lost_peer(error):
            # Whoever is gone is charged, of which Ray may know later.
            raise error
        if isinstance(error, OutOfMemoryError):
            ending = {"status": OUT_OF_MEMORY, "error": str(error), "parts": error.next_parts}
        else:
            ending = describe_failure(error, Path(luggage.assignment.plan.place.folder))
            luggage.send_traceback(ending)
        # All ranks read the same loss; any other exception may be one rank's own.
        if not alone and not isinstance(error, NonFiniteLossError):
            run_id = luggage.assignment.plan.run_id
            self._tell("note_exception", run_id, self._rank, ending)
            # Peers may sit in a collective: Ray Train restarts the group.
            raise error
        return ending

    def _finish(
        self,
        run_id: str,
        ending: Mapping[str, Any],
        result: Result | None,
        luggage: Luggage,
    ) -> None:
        self._tell("finish", run_id, ending)
        if result is not None:
            # Not before: where nobody is there to be told, the run goes on from what is left.
            result.remove_spent()
            luggage.drop(result.spent)

    def _tell(self, method: str, run_id: str, *values: Any) -> None:  # noqa: ANN401
        tell = getattr(self._broker, method)
        ray.get(tell.remote(self._lane, self._generation, run_id, *values))

    def _agree_on_generation(self) -> str:
        generation = [uuid.uuid4().hex]
        if self._world_size > 1:
            distributed.broadcast_object_list(generation, src=0)
        return generation[0]

    def _watch_for_stop(self) -> None:
        try:
            ray.get(self._broker.wait_for_stop.remote(self._lane, self._generation))
        except ray.exceptions.RayError:
            # Nobody wants the numbers any more: nothing trains on for nobody.
            if not self._at_home:
                os._exit(1)
        self._stop.set()

    def _facts(self) -> dict[str, Any]:
        """What the journal shall know of this lane; every rank says its part."""
        mine = describe_process(self._device, rank=self._rank)
        nodes = [(find_node(), mine["host"])]
        workers = [mine]
        if self._world_size > 1:
            workers = [{} for _ in range(self._world_size)]
            distributed.all_gather_object(workers, mine)
            nodes *= self._world_size
            distributed.all_gather_object(nodes, nodes[0])
        return {
            "host": mine["host"],
            "pid": mine["pid"],
            "world_size": self._world_size,
            "threads": mine["threads"],
            "cuda_visible_devices": mine["cuda_visible_devices"],
            **describe_device(self._device),
            "workers": workers,
            "nodes": dict(nodes),
        }


def is_lost_peer(error: Exception) -> bool:
    """Whether an exception says no more than that another worker of the run is gone."""
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and "/gloo/transport/" in str(error)
    )
