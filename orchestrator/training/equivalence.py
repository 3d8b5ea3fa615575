"""The same steps by one worker and by two, in float64: `python -m ….equivalence JSON`.

In float64 what remains between them is rounding, some ten digits below any real mistake in how
work is divided: shares of a batch, weights of a loss, shared statistics, clipping. What draws
per worker, dropout and stochastic depth, is off.
"""

import json
import os
import sys
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from orchestrator.planning.run_plan import RunPlan
from orchestrator.training.context import Verdict, WorkerContext, configure_process
from orchestrator.training.data.build import build_data
from orchestrator.training.data.loader import TrainLoader
from orchestrator.training.loss import Targets
from orchestrator.training.state import TrainingState

TOLERANCE = 1e-9
"""Largest difference of a weight that is taken for rounding."""
_CPU = torch.device("cpu")


def describe_steps(plan: RunPlan, *, steps: int, rank: int, world_size: int, out: Path) -> str:
    """The argument of this program.

    Args:
        plan: The run.
        steps: How many to take.
        rank: Number of this worker.
        world_size: Number of workers.
        out: Folder that the workers meet in, and that rank 0 writes to.
    """
    return json.dumps(
        {
            "plan": plan.to_json(),
            "steps": steps,
            "rank": rank,
            "world_size": world_size,
            "out": str(out),
        }
    )


def largest_difference(first: Path, second: Path) -> tuple[float, int, str]:
    """How far two trainings are apart: the largest difference, its step and its tensor.

    Step and tensor are the first that differ by more than the tolerance, where one does.

    Args:
        first: Folder that one of them wrote to.
        second: That of the other.
    """
    worst = (0.0, 0, "")
    for step, (one, other) in enumerate(
        zip(_read_steps(first), _read_steps(second), strict=True), start=1
    ):
        for name, value in one.items():
            apart = float((value - other[name]).abs().max()) if value.numel() else 0.0
            # Also where it is NaN, which is more than nothing.
            if not apart <= TOLERANCE:
                return apart, step, name
            worst = max(worst, (apart, step, name))
    return worst


def _read_steps(folder: Path) -> list[dict[str, Tensor]]:
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob("step-*.pt"))]


def take_steps(plan: RunPlan, job: dict[str, Any]) -> None:
    """Take the first steps of a run, and write the weights after each."""
    torch.set_default_dtype(torch.float64)
    numbers = plan.numbers
    context = WorkerContext(
        rank=job["rank"], world_size=job["world_size"], device=_CPU, report=_go_on
    )
    data = build_data(numbers.data, plan.place, seed=numbers.seed)
    loader = TrainLoader(
        data.train,
        numbers.data,
        seed=numbers.seed,
        rank=context.rank,
        world_size=context.world_size,
        device=_CPU,
        loader_workers=0,
    )
    state = TrainingState.begin(
        numbers, plan.place, data, context, steps_per_epoch=loader.steps_per_epoch
    )
    silence(state.model)
    batches = chain.from_iterable(
        ((epoch, batch) for batch in loader.epoch(epoch))
        for epoch in range(1, numbers.training.epochs + 1)
    )
    present = 0
    for step, (epoch, batch) in enumerate(islice(batches, job["steps"]), start=1):
        if epoch != present:
            state.begin_epoch(epoch)
            present = epoch
        targets = Targets(batch.labels, batch.partner_labels, batch.lam)
        state.step(batch.images.double(), targets, batch_size=batch.batch_size)
        if context.rank == 0:
            path = Path(job["out"]) / f"step-{step:04d}.pt"
            weights = {n: p.detach() for n, p in state.model.named_parameters()}
            torch.save(weights, path)


def silence(model: nn.Module) -> None:
    """Turn off what draws anew for every image of a worker."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0
        elif type(layer).__name__ in ("StochasticDepth", "DropPath"):
            layer.eval()
            layer.register_forward_pre_hook(_stay_quiet)


def _stay_quiet(layer: nn.Module, inputs: tuple[Any, ...]) -> None:  # noqa: ARG001
    layer.training = False


def _go_on(epoch: int, metrics: Any) -> Verdict:  # noqa: ANN401, ARG001
    return "continue"


def main() -> None:
    """Take the steps that the first argument says."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    plan = RunPlan.from_json(job["plan"])
    configure_process(threads=1, deterministic="true", device=_CPU)
    if job["world_size"] > 1:
        distributed.init_process_group(
            "gloo",
            init_method=(Path(job["out"]) / "meet").as_uri(),
            rank=job["rank"],
            world_size=job["world_size"],
        )
    take_steps(plan, job)
    if job["world_size"] > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
    # All is written. Threads of gloo that outlive the interpreter now and then abort its end.
    os._exit(0)
