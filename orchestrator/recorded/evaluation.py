"""Verb `evaluate`: a recorded run scored on a part of its own data.

evaluate("digits-label-smoothing@best", split="test").metrics
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SpecError
from orchestrator.launch.environment import prepare_environment
from orchestrator.recorded.runs import find_recorded
from orchestrator.tracking.record import RunRecord

if TYPE_CHECKING:
    from orchestrator.training.rescoring import RescoredRun

PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a recorded run scores on one part of its data."""

    run: RunRecord
    part: str
    rescored: "RescoredRun"

    @property
    def metrics(self) -> Mapping[str, float]:
        """`val/accuracy` and the like."""
        return self.rescored.metrics

    @property
    def images_by_class(self) -> tuple[int, ...]:
        """Images of each class."""
        return tuple(map(sum, self.rescored.scores.confusion))

    @property
    def differences(self) -> dict[str, float] | None:
        """How far each metric lies from the recorded one, where it differs in any digit.

        None where nothing is recorded of this part.
        """
        recorded = {
            name: self.run.metrics[name] for name in self.metrics if name in self.run.metrics
        }
        if not recorded:
            return None
        return {
            name: self.metrics[name] - value
            for name, value in recorded.items()
            if self.metrics[name] != value
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values; the recall of a class without images is null."""
        scores, counts = self.rescored.scores, self.images_by_class
        return {
            "run": self.run.run_id,
            "split": self.part,
            "images": scores.samples,
            "weights": str(self.rescored.weights),
            "device": self.rescored.device,
            "metrics": dict(self.metrics),
            "differences_from_record": self.differences,
            "classes": [
                {"name": name, "images": count, "recall": recall if count else None}
                for name, count, recall in zip(
                    self.rescored.classes, counts, scores.recall, strict=True
                )
            ],
            "confusion": [list(row) for row in scores.confusion],
        }


def evaluate(run: str, *, split: str = "val", storage_path: str | None = None) -> Evaluation:
    """Score a recorded run on its own data, in this process.

    Args:
        run: As `find_recorded` takes it.
        split: `val`; `test`, which is read here alone; or `train`, the images and labels that
            were learned from, not augmented.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.

    Raises:
        RecordError: There is no such run, it has left no weights, or the data's classes are
            not its own.
        TrainingError: The data cannot be had.
    """
    if split not in PARTS:
        raise SpecError([f"--split: there are {', '.join(PARTS)} (got {split!r})"])
    prepare_environment()
    recorded = find_recorded(run, storage_path=storage_path)
    from orchestrator.training.rescoring import score_run

    rescored = score_run(recorded.plan, split)
    return Evaluation(run=recorded.found.run, part=split, rescored=rescored)
