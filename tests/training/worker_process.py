"""One of several workers, as a process of its own: `worker_process.py RANK WORLD_SIZE FOLDER`.

Trains the assignments in `FOLDER/assignments.json` by name: `stopped` is stopped after its
first epoch, `resumed` is interrupted in its second and goes on, `halved` does not. Two then
take steps of a network without batch normalisation. Each writes what it found to
`FOLDER/RANK.json`.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.optim.lr_scheduler import ConstantLR

from orchestrator.planning.run_plan import Assignment
from orchestrator.training import loop
from orchestrator.training.checkpoint_file import list_checkpoints
from orchestrator.training.context import Verdict, WorkerContext, configure_process
from orchestrator.training.loss import Targets, build_loss
from orchestrator.training.param_groups import ParamGroup
from orchestrator.training.precision import Precision
from orchestrator.training.state import TrainingState
from tests import plans
from tests.device import DEVICE

CPU = torch.device("cpu")


def train_assignment(assignment: Assignment, rank: int, stop_after: int) -> dict[str, Any]:
    """Train for real, and note the weights that this rank itself ends with."""
    seen: dict[str, Any] = {"reports": []}

    def report(epoch: int, metrics: Mapping[str, float]) -> Verdict:
        seen["reports"].append([epoch, dict(metrics)])
        return "stop" if epoch == stop_after else "continue"

    context = WorkerContext(
        rank=rank,
        world_size=distributed.get_world_size(),
        device=DEVICE,
        report=report,
        note=lambda note: seen.update(note=dict(note)),
    )
    result = loop.train(assignment, context)
    return {**seen, "status": result.status, "weights": result.weights_sha256}


def resume_assignment(assignment: Assignment, rank: int) -> dict[str, Any]:
    """Train for two epochs, lose what came after the middle of the second, and go on."""
    first = lose_half_an_epoch(assignment, rank)
    distributed.barrier()
    last = train_assignment(assignment, rank, stop_after=0)
    return {**last, "first": first["reports"]}


def lose_half_an_epoch(assignment: Assignment, rank: int) -> dict[str, Any]:
    """Train for two epochs, and lose what came after the middle of the second."""
    found = train_assignment(assignment, rank, stop_after=2)
    if rank == 0:
        written = list_checkpoints(Path(assignment.plan.place.folder) / "checkpoints")
        written[max(written)][0].unlink()
    return found


def step_linear(rank: int, world_size: int) -> dict[str, Any]:
    """Three steps on five images, of which the first worker has three."""
    torch.manual_seed(0)
    images = torch.randn(3, 5, 4, dtype=torch.float64)
    labels = torch.randint(3, (3, 5))
    model = nn.Linear(4, 3, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    group = ParamGroup(
        name="all", names=("weight", "bias"), lr=0.5, weight_decay=0.0, first_epoch=1
    )
    state = TrainingState(
        model=model,
        optimizer=optimizer,
        schedule=ConstantLR(optimizer, factor=1.0),
        loss=build_loss(plans.loss_plan(), num_classes=3),
        groups=[group],
        plan=plans.training_plan(),
        precision=Precision.of("float32", CPU, channels_last=False),
        world_size=world_size,
    )
    state.begin_epoch(1)
    losses = []
    for pixels, classes in zip(images, labels, strict=True):
        mine = slice(None) if world_size == 1 else [slice(3), slice(3, 5)][rank]
        losses.append(float(state.step(pixels[mine], Targets(classes[mine]), batch_size=5)))
    return {"losses": losses, "weight": model.weight.tolist(), "bias": model.bias.tolist()}


def train_named(name: str, assignment: Assignment, rank: int) -> dict[str, Any]:
    """Train it in the way that its name says."""
    if name == "resumed":
        return resume_assignment(assignment, rank)
    if name == "halved":
        return lose_half_an_epoch(assignment, rank)
    return train_assignment(assignment, rank, stop_after=1 if name == "stopped" else 0)


def main() -> None:
    """Find the peers, do all of it, write it down."""
    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    configure_process(threads=1, deterministic="true", device=DEVICE)
    distributed.init_process_group(
        "gloo", init_method=(folder / "meet").as_uri(), rank=rank, world_size=world_size
    )
    found = {
        name: train_named(name, Assignment.from_json(text), rank)
        for name, text in json.loads((folder / "assignments.json").read_text()).items()
    }
    if world_size == 2:
        found |= {"shared": step_linear(rank, 2), "alone": step_linear(0, 1)}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
    # All is written. Threads of gloo that outlive the interpreter now and then abort its end.
    os._exit(0)
