"""A recorded run scored once more, on any part of its data, as its training scored it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from orchestrator.planning.run_plan import RunPlan
from orchestrator.training.context import Verdict, WorkerContext, configure_process
from orchestrator.training.evaluation import evaluate
from orchestrator.training.restore import (
    check_classes,
    choose_device,
    importing_from,
    open_parts,
    restore_run,
)
from orchestrator.training.scores import Scores, score_predictions


@dataclass(frozen=True, kw_only=True)
class RescoredRun:
    """What one part of the data says of a recorded run."""

    metrics: Mapping[str, float]
    """`val/accuracy` and the like, named as in the records."""
    scores: Scores
    classes: tuple[str, ...]
    weights: Path
    device: str


def score_run(plan: RunPlan, part: str) -> RescoredRun:
    """Score a recorded run on one part of its own data, as its training scored it.

    On the kind of device that it was trained on, where this machine has one, and with as many
    threads: then the metrics of the validation part are the recorded ones to the last digit.

    Args:
        plan: What was trained; its place says where its folder and its code are now.
        part: `train` (the images and labels that were learned from, not augmented), `val` or
            `test`.

    Raises:
        RecordError: There are no weights, or they mean other classes.
        TrainingError: The data or the network cannot be had, or there is no such part.
    """
    numbers = plan.numbers
    device = choose_device(wanted=numbers.device)
    configure_process(
        threads=numbers.threads, deterministic=numbers.deterministic, device=device
    )
    torch.backends.cudnn.benchmark = numbers.training.cudnn_benchmark
    context = WorkerContext(rank=0, world_size=1, device=device, report=_never_report)
    with importing_from(plan.place.sources):
        restored = restore_run(plan, device)
        data = open_parts(numbers.data, plan.place, seed=numbers.seed, parts=(part,))
        check_classes(restored, data.classes, run_id=plan.run_id)
        tally, predictions, _ = evaluate(
            restored.model,
            data.parts[part],
            numbers.data,
            context,
            precision=restored.precision,
            loader_workers=plan.place.loader_workers,
        )
    scores = score_predictions(predictions, context)
    # Training reports the sums of batches where there are any, and so do we: another order of
    # summation has other last digits.
    sums = {name.replace("val", part, 1): value for name, value in tally.to_metrics().items()}
    return RescoredRun(
        metrics={**scores.to_metrics(part), **sums},
        scores=scores,
        classes=restored.classes,
        weights=restored.weights,
        device=str(device),
    )


def _never_report(epoch: int, metrics: Mapping[str, float]) -> Verdict:
    raise AssertionError((epoch, metrics))
