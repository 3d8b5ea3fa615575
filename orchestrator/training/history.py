"""The epochs so far: which of them counts, and whether more are worth while."""

from collections.abc import Iterator, Mapping
from typing import Final

from orchestrator.planning.run_plan import RunPlan

_EVERY_EPOCH: Final = frozenset({"train/loss", "val/accuracy", "val/top5", "val/nll"})
"""Metrics that cost next to nothing; what else is judged by is computed where it is needed."""


class History:
    """Metrics of each epoch of a run.

    Args:
        plan: Says which epoch counts, by which metric, and when to stop early.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._stopping = plan.numbers.training.early_stopping
        self._epochs: list[dict[str, float]] = []

    @property
    def needs_scores(self) -> bool:
        """Whether an epoch is judged by more than what every epoch reports."""
        checkpoint = self._plan.place.checkpoint
        ranks = self._plan.select == "best" or bool(checkpoint and checkpoint.keep_best)
        judged = {self._plan.metric} if ranks else set()
        if self._stopping is not None:
            judged.add(self._stopping.metric)
        return bool(judged - _EVERY_EPOCH)

    def __len__(self) -> int:
        """Epochs so far."""
        return len(self._epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        """The metrics of each, in order."""
        return iter(self._epochs)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Note what an epoch came to."""
        self._epochs.append(dict(metrics))

    @property
    def counted_epoch(self) -> int:
        """The last epoch so far, or the first of the best ones; counted from 1."""
        return len(self) if self._plan.select == "last" else self.ranked_epochs()[0]

    def ranked_epochs(self) -> list[int]:
        """The epochs so far, the best by the run's metric first; counted from 1."""
        sign = 1 if self._plan.maximize else -1
        # Not every epoch has every metric; such a one ranks nothing.
        ranked = [n for n, epoch in enumerate(self._epochs) if self._plan.metric in epoch]
        ranked.sort(key=lambda n: -sign * self._epochs[n][self._plan.metric])
        return [n + 1 for n in ranked]

    def counted_metrics(self) -> dict[str, float]:
        """The metrics of the epoch that counts, and which it is where it was chosen."""
        counted = dict(self._epochs[self.counted_epoch - 1])
        if self._plan.select == "best":
            counted["best_epoch"] = float(self.counted_epoch)
        if self._stopping is not None:
            counted["epochs"] = float(len(self._epochs))
        return counted

    @property
    def is_over(self) -> bool:
        """Whether the last epoch was the last one to train."""
        return len(self._epochs) == self._plan.numbers.training.epochs or self._is_stuck

    @property
    def _is_stuck(self) -> bool:
        """Whether nothing has improved for as long as patience lasts."""
        if self._stopping is None:
            return False
        sign = 1 if self._stopping.maximize else -1
        best, since = -float("inf"), 0
        for epoch in self._epochs:
            value = sign * epoch[self._stopping.metric]
            if value > best + self._stopping.min_delta:
                best, since = value, 0
            else:
                since += 1
        return since >= self._stopping.patience
