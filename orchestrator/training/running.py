"""A run in progress, epoch by epoch: trained, scored, reported, and written to checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrator.planning.run_plan import RunPlan
from orchestrator.training.checkpoint import Checkpoints, copy_values
from orchestrator.training.context import WorkerContext
from orchestrator.training.data.build import RunData
from orchestrator.training.data.loader import TrainLoader
from orchestrator.training.epoch_loss import check_finite, check_weights, mean_loss, pool_losses
from orchestrator.training.evaluation import AT_ONCE, Predictions, evaluate
from orchestrator.training.group_table import describe_network
from orchestrator.training.history import History
from orchestrator.training.loss import Targets
from orchestrator.training.memory import find_parts, told_of_memory
from orchestrator.training.metrics import Tally
from orchestrator.training.outputs import RunFolder, digest_weights
from orchestrator.training.result import Result
from orchestrator.training.resumption import describe_resumption, pack, unpack
from orchestrator.training.scores import score_predictions
from orchestrator.training.state import TrainingState
from orchestrator.training.trace import Trace

_STOPPED = Result(status="stopped", metrics={}, weights_sha256="")


class Training:
    """One run in progress.

    Args:
        plan: The run.
        context: This worker.
        data: Its images.
        loader: Their batches.
        checkpoints: Where it is kept.
    """

    def __init__(
        self,
        plan: RunPlan,
        context: WorkerContext,
        data: RunData,
        loader: TrainLoader,
        checkpoints: Checkpoints,
    ) -> None:
        self._plan = plan
        self._numbers = plan.numbers
        self._context = context
        self._data = data
        self._loader = loader
        self._checkpoints = checkpoints
        self._state = TrainingState.begin(
            plan.numbers, plan.place, data, context, steps_per_epoch=loader.steps_per_epoch
        )
        is_kept = plan.numbers.limit_batches is None
        self._folder = RunFolder(Path(plan.place.folder), context, is_kept=is_kept)
        self._folder.open(data, self._state.load_report)
        self._history = History(plan)
        self._trace = Trace(Path(plan.place.trace)) if plan.place.trace else None
        self._losses: list[Tensor] = []
        """This worker's, of the steps that the present epoch has done."""
        self._lr = 0.0
        """Highest learning rate at the beginning of the present epoch."""
        self._at_once = AT_ONCE
        self._counted: Predictions | None = None
        """Of the epoch that counts; None where it was scored before this process was."""
        self._best: dict[str, Any] | None = None
        """Weights of the best epoch so far, where that is the one that counts."""

    def resume(self, *, parts: int) -> None:
        """Go on from the newest checkpoint, where there is one.

        Args:
            parts: Least parts that a worker's share of a batch is cut into.
        """
        content, found = self._checkpoints.load()
        if content is not None:
            self._losses, self._lr, self._best = unpack(
                self._plan,
                content,
                state=self._state,
                history=self._history,
                classes=self._data.classes,
                context=self._context,
            )
            if self._best is not None:
                self._folder.write_best(self._best)
        if (content or found.damaged) and self._context.rank == 0:
            self._context.note(describe_resumption(found, self._history, len(self._losses)))
        self._choose_parts(parts, begins=content is None)

    def _choose_parts(self, least: int, *, begins: bool) -> None:
        """Decide how many parts a batch is cut into, where plan and checkpoint do not."""
        state, context = self._state, self._context
        if self._plan.numbers.training.accumulate == 0 and begins and least == 1:
            share = -(-max(self._loader.sizes) // context.world_size)
            data = self._numbers.data
            shape = torch.Size([share, data.channels, data.image_size, data.image_size])
            state.parts = find_parts(state, shape, context)
        state.parts = max(state.parts, least)
        if state.parts != self._numbers.training.accumulate and context.rank == 0:
            context.note({"note": "parts", "parts": state.parts})

    def train(self) -> Result:
        """Train the epochs that are left."""
        while not self._history.is_over:
            epoch = len(self._history) + 1
            self._state.begin_epoch(epoch)
            if not self._train_epoch(epoch):
                self._save()
                self._checkpoints.wait()
                return _STOPPED
            metrics = self._score_epoch(epoch)
            verdict = self._context.report_epoch(epoch, metrics)
            is_over = self._history.is_over
            stops = verdict == "stop" and not is_over
            final = is_over and self._checkpoints.keeps_final
            if stops or final or self._checkpoints.is_due_after_epoch(epoch):
                self._save()
            if stops:
                self._checkpoints.wait()
                return _STOPPED
        return self._end()

    def _train_epoch(self, epoch: int) -> bool:
        """Take the steps that are left of an epoch; False where a stop was requested."""
        if not self._losses:
            self._lr = max(group["lr"] for group in self._state.optimizer.param_groups)
        steps = self._loader.steps_per_epoch
        for batch in self._loader.epoch(epoch, start=len(self._losses)):
            targets = Targets(batch.labels, batch.partner_labels, batch.lam)
            with told_of_memory(self._state, len(batch.images)):
                loss = self._state.step(batch.images, targets, batch_size=batch.batch_size)
            self._losses.append(loss)
            if self._trace is not None:
                self._trace.add(self._state, loss)
            done = len(self._losses)
            if self._context.stops_after(done):
                return False
            if done < steps and self._checkpoints.is_due_after_step((epoch - 1) * steps + done):
                self._save()
        return True

    def _score_epoch(self, epoch: int) -> Mapping[str, float]:
        """Validate, and note whether this epoch is the one that counts."""
        losses = self._pool_losses(epoch)
        self._losses = []
        self._state.share_buffers()
        tally, predictions = self._evaluate()
        metrics = {
            "train/loss": mean_loss(losses, self._loader.sizes),
            "train/lr": self._lr,
            **tally.to_metrics(),
        }
        check_finite(metrics, epoch=epoch)
        if self._history.needs_scores:
            metrics = score_predictions(predictions, self._context).to_metrics("val") | metrics
        self._history.add(metrics)
        if self._history.counted_epoch == epoch:
            self._counted = predictions
            if self._plan.select == "best":
                self._best = copy_values(self._state.scored_model.state_dict())
                self._folder.write_best(self._best)
        return metrics

    def _evaluate(self) -> tuple[Tally, Predictions]:
        tally, predictions, at_once = evaluate(
            self._state.scored_model,
            self._data.val,
            self._numbers.data,
            self._context,
            precision=self._state.precision,
            loader_workers=self._plan.place.loader_workers,
            limit_batches=self._numbers.limit_batches,
            at_once=self._at_once,
        )
        if at_once < self._at_once and self._context.rank == 0:
            self._context.note({"note": "scored", "at_once": at_once})
        self._at_once = at_once
        return tally, predictions

    def _pool_losses(self, epoch: int) -> Tensor:
        steps = self._loader.steps_per_epoch
        return pool_losses(self._losses, self._context, epoch=epoch, steps_per_epoch=steps)

    def _save(self) -> None:
        """Write a checkpoint of this moment, unless a step before it has broken the numbers."""
        epoch, steps = len(self._history) + 1, self._loader.steps_per_epoch
        if self._losses:
            self._pool_losses(epoch)
        check_weights(self._state.model, epoch=epoch)
        self._checkpoints.save(
            pack(
                self._plan,
                state=self._state,
                history=self._history,
                classes=self._data.classes,
                context=self._context,
                progress=(self._losses, self._lr, self._best),
            ),
            step=(epoch - 1) * steps + len(self._losses),
            ranked_epochs=self._history.ranked_epochs(),
        )

    def _end(self) -> Result:
        """Score the epoch that counts in full, and leave everything in the run's folder."""
        model = self._state.scored_model
        if self._plan.place.describes_network and self._folder.writes:
            text = describe_network(self._state.model, self._state.groups, self._numbers.data)
            self._folder.write_summary(text)
        digest = digest_weights(model)
        self._folder.write_last(model.state_dict())
        if self._counted is None:
            if self._best is not None:
                model.load_state_dict(self._best)
            self._counted = self._evaluate()[1]
        scores = score_predictions(self._counted, self._context)
        self._folder.close(self._counted, scores)
        spent = self._checkpoints.finish(ranked_epochs=self._history.ranked_epochs())
        return Result(
            status="finished",
            metrics={
                **scores.to_metrics("val"),
                **self._history.counted_metrics(),
                **self._folder.facts,
            },
            weights_sha256=digest,
            spent=spent,
        )
