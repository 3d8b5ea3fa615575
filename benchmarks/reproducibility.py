"""What it costs that numbers come again: deterministic algorithms, and checkpoints.

The same training in one process, alternating: without either; with deterministic algorithms;
with a checkpoint every few steps, copied and written beside the training, as this tool does;
and the rival, the same file written while training waits. Steps per second over those without;
the last line is one JSON object.

    .venv/bin/python -m benchmarks.reproducibility      about 3 minutes on one core
    python -m benchmarks.reproducibility --device cuda  ResNet-50 at 224 pixels, in bfloat16

On a GPU, the training without either may let cuDNN choose by trying. Needs PyTorch,
torchvision, NumPy and Pillow alone.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.training import DIGITS, LARGE, RESNET, Case, decide
from orchestrator.planning.run_plan import Assignment, CheckpointPlan, Place, RunPlan
from orchestrator.planning.section_plans import NormalizePlan
from orchestrator.training import loop
from orchestrator.training.checkpoint import Checkpoints
from orchestrator.training.context import Verdict, WorkerContext, configure_process

RESNET50 = replace(LARGE, images=1280, batch=128, compile=False)
EVERY = {"small_cnn": 12, "resnet18": 3, "resnet50": 10}
"""Steps between two checkpoints: about as many as an epoch has."""
EPOCHS = {"small_cnn": 20, "resnet18": 3, "resnet50": 9}


class Waiting(Checkpoints):
    """The rival: training waits until the file is written."""

    def save(self, content: Mapping[str, Any], *, step: int, ranked_epochs: list[int]) -> None:
        """Write, and wait."""
        super().save(content, step=step, ranked_epochs=ranked_epochs)
        self.wait()


def train(
    case: Case, device: torch.device, *, deterministic: str, every: int | None, waits: bool
) -> float:
    """Steps per second after the first epoch, the validations and the end included."""
    configure_process(threads=1, deterministic=deterministic, device=device)
    numbers = decide(case, device)
    sizes = {"train_size": case.images, "val_size": 64, "num_classes": case.classes}
    arguments = {**sizes, "channels": case.channels, "image_size": case.side}
    tunes = device.type == "cuda" and deterministic == "false"
    training = replace(numbers.training, epochs=EPOCHS[case.network], cudnn_benchmark=tunes)
    normalize = NormalizePlan(by="none", mean=(), std=())
    data = replace(numbers.data, arguments=arguments, normalize=normalize)
    numbers = replace(numbers, data=data, training=training)
    checkpoint = CheckpointPlan(
        every_epochs=0, every_steps=every, keep_last=2, keep_best=0, keep_final=False
    )
    with tempfile.TemporaryDirectory(prefix="reproducibility-") as folder:
        plan = RunPlan(
            run_id="bench/1/seed=0",
            setting={},
            select="last",
            metric="val/accuracy",
            maximize=True,
            numbers=numbers,
            place=Place(
                folder=str(Path(folder)), loader_workers=case.workers, checkpoint=checkpoint
            ),
        )
        reported: list[float] = []

        def report(epoch: int, metrics: Mapping[str, float]) -> Verdict:  # noqa: ARG001
            reported.append(time.perf_counter())
            return "continue"

        context = WorkerContext(rank=0, world_size=1, device=device, report=report)
        loop.Checkpoints = Waiting if waits else Checkpoints  # type: ignore[attr-defined]
        loop.train(Assignment(plan=plan, attempt=1), context)
        seconds = time.perf_counter() - reported[0]
    return (training.epochs - 1) * (case.images // case.batch) / seconds


def measure(case: Case, device: torch.device, rounds: int) -> dict[str, float]:
    """Medians of steps per second over those without anything, way by way."""
    every = EVERY[case.network]
    ways: dict[str, dict[str, Any]] = {
        "plain": {"deterministic": "false", "every": None, "waits": False},
        "deterministic": {"deterministic": "true", "every": None, "waits": False},
        "checkpoints": {"deterministic": "false", "every": every, "waits": False},
        "checkpoints, waiting": {"deterministic": "false", "every": every, "waits": True},
    }
    for way in ways.values():
        train(case, device, **way)
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        speeds = {name: train(case, device, **way) for name, way in ways.items()}
        for name, speed in speeds.items():
            ratios[name].append(speed / speeds["plain"])
    return {name: round(statistics.median(values), 3) for name, values in ratios.items()}


def main() -> None:
    """Measure both networks; print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    device = torch.device(given.device, 0)
    report = {}
    for case in (DIGITS, RESNET) if given.device == "cpu" else (RESNET50,):
        report[case.network] = measure(case, device, given.rounds)
        print(f"{case.network}, a checkpoint every {EVERY[case.network]} steps")
        for name, ratio in report[case.network].items():
            print(f"  {name:<22} {ratio:.3f} of the plain steps per second")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
