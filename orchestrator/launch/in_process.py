"""One run in this very process, without Ray: for a debugger, with the same numbers."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from orchestrator.launch.devices import pin
from orchestrator.launch.failures import describe_failure
from orchestrator.launch.travel import Luggage
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.tracking import journal
from orchestrator.tracking.mirror import address_of
from orchestrator.training.context import (
    Copies,
    Verdict,
    WorkerContext,
    configure_process,
    describe_device,
    describe_process,
)
from orchestrator.training.loop import train
from orchestrator.training.memory import OutOfMemoryError, end_memory, release_memory
from orchestrator.training.result import Result

_LANE = "in process"


def train_here(
    plan: RunPlan, lane: LanePlan, book: journal.Journal, tick: Callable[[], None]
) -> bool:
    """Train one run and journal it as a lane's would be.

    Args:
        plan: The run.
        lane: Its threads, its device and whether it is deterministic.
        book: The search's journal.
        tick: Called after every epoch.

    Returns:
        True: it was left to end by itself.

    Raises:
        Exception: Whatever training raised, after it was journalled.
    """
    device = _configure(lane)
    started = time.time()

    store = address_of(Path(plan.place.folder).parents[2])
    luggage = Luggage(Assignment(plan=plan, attempt=1, store=store))
    context = _build_context(plan, book, tick, device, luggage.copies)
    facts = {**describe_device(device), "workers": [describe_process(device, rank=0)]}
    book.append(journal.LANE, lane=_LANE, facts=facts)
    book.append(journal.START, run=plan.run_id, lane=_LANE, attempt=1)
    try:
        luggage.unpack(rank=0)
        result = _train(luggage.assignment.plan, context)
        luggage.send(result)
    except Exception as error:
        ending = describe_failure(error, Path(plan.place.folder))
        _end(book, plan.run_id, started, **ending)
        raise
    if memory := end_memory(device):
        book.append(journal.NOTE, run=plan.run_id, **memory)
    _end(
        book,
        plan.run_id,
        started,
        status=result.status,
        metrics=dict(result.metrics),
        weights_sha256=result.weights_sha256,
    )
    result.remove_spent()
    luggage.drop(result.spent)
    tick()
    return True


def _configure(lane: LanePlan) -> torch.device:
    """Let this process be like a lane's; where it computes."""
    if lane.seats:
        pin([lane.seats[0][0].device], 0, alone=True)
    device = torch.device(lane.device, 0) if lane.device == "cuda" else torch.device("cpu")
    configure_process(
        threads=lane.cpus_per_worker, deterministic=lane.deterministic, device=device
    )
    return device


def _train(plan: RunPlan, context: WorkerContext) -> Result:
    """Train, with smaller parts of a batch where a GPU's memory does not suffice."""
    parts = 1
    while True:
        try:
            return train(Assignment(plan=plan, attempt=1, parts=parts), context)
        except OutOfMemoryError as error:
            if error.next_parts is None:
                raise
            parts = error.next_parts
        release_memory()


def _build_context(
    plan: RunPlan,
    book: journal.Journal,
    tick: Callable[[], None],
    device: torch.device,
    copies: Copies | None,
) -> WorkerContext:
    def report(epoch: int, metrics: Mapping[str, float]) -> Verdict:
        book.append(journal.EPOCH, run=plan.run_id, epoch=epoch, metrics=dict(metrics))
        tick()
        return "continue"

    return WorkerContext(
        rank=0,
        world_size=1,
        device=device,
        report=report,
        note=lambda note: book.append(journal.NOTE, run=plan.run_id, **note),
        copies=copies,
    )


def _end(book: journal.Journal, run_id: str, started: float, **ending: object) -> None:
    empty: dict[str, object] = {"metrics": {}, "weights_sha256": "", "error": ""}
    book.append(
        journal.END, run=run_id, duration_s=time.time() - started, **{**empty, **ending}
    )
