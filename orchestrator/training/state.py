"""A training in progress: network, optimizer, schedule, average and position."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from orchestrator.planning.run_plan import Numbers, Place
from orchestrator.planning.section_plans import TrainingPlan
from orchestrator.training import streams
from orchestrator.training.averaging import Average
from orchestrator.training.context import WorkerContext
from orchestrator.training.freezing import set_trainable
from orchestrator.training.loss import LossFunction, Targets, weight_share
from orchestrator.training.model.load_report import LoadReport
from orchestrator.training.model.outputs import read_outputs
from orchestrator.training.model.sync_batch_norm import convert_batch_norm
from orchestrator.training.optim import build_optimizer, build_schedule
from orchestrator.training.param_groups import ParamGroup, trainable_names
from orchestrator.training.parts import (
    Labels,
    build_network,
    build_run_loss,
    choose_groups,
)
from orchestrator.training.precision import Precision


@dataclass(kw_only=True)
class TrainingState:
    """Everything that a step changes, and what it needs to change it."""

    model: nn.Module
    """The network itself; `replica` wraps it where several workers train it."""
    optimizer: Optimizer
    schedule: LRScheduler
    loss: LossFunction
    groups: Sequence[ParamGroup]
    plan: TrainingPlan
    precision: Precision
    world_size: int
    parts: int = 1
    """Parts that a worker's share of a batch is cut into, where it has two images for each."""
    load_report: LoadReport | None = None
    average: Average | None = None
    """Moving average of the weights; None where none is kept."""
    replica: nn.Module = field(init=False)
    _trainable: set[str] | None = field(init=False, default=None)

    @classmethod
    def begin(
        cls,
        numbers: Numbers,
        place: Place,
        data: Labels,
        context: WorkerContext,
        *,
        steps_per_epoch: int,
    ) -> "TrainingState":
        """A freshly initialised training; every rank starts with the same weights.

        Args:
            numbers: All that decides them.
            place: Where weights and the user's own code lie.
            data: Classes and their sizes.
            context: This worker.
            steps_per_epoch: Optimizer steps of each epoch.
        """
        built = build_network(numbers, place, data, context.device)
        groups = choose_groups(built.model, numbers, num_classes=len(data.classes))
        model = built.model
        if numbers.model.sync_batch_norm and context.world_size > 1:
            model = convert_batch_norm(model, context.device)
        optimizer = build_optimizer(numbers.optimizer, groups, model)
        # What layers draw from the global generators, such as dropout, has a stream of its own.
        streams.seed_global_generators(numbers.seed, streams.LAYERS, context.rank)
        training, device = numbers.training, context.device
        return cls(
            model=model,
            optimizer=optimizer,
            schedule=build_schedule(
                numbers.schedule,
                optimizer,
                epochs=training.epochs,
                steps_per_epoch=steps_per_epoch,
            ),
            loss=build_run_loss(numbers, place, data, device),
            groups=groups,
            plan=training,
            precision=Precision.of(
                training.precision, device, channels_last=numbers.model.channels_last
            ),
            world_size=context.world_size,
            parts=max(1, training.accumulate),
            load_report=built.load_report,
            average=None if training.ema is None else Average(model, training.ema),
        )

    def begin_epoch(self, epoch: int) -> None:
        """Let learn what learns in this epoch, counted from 1.

        DDP and the compiler look at what has gradients when they wrap a network, so both are
        made anew when that changes; the optimizer's state stays.
        """
        trainable = trainable_names(self.groups, epoch)
        set_trainable(self.model, trainable)
        if trainable != self._trainable:
            self._trainable = trainable
            self.replica = self._wrap()

    def step(self, images: Tensor, targets: Targets, *, batch_size: int) -> Tensor:
        """One optimizer step.

        Args:
            images: This worker's part of the batch, float32, shape (B, C, H, W).
            targets: What they are.
            batch_size: Images of all workers in this step.

        Returns:
            This worker's weighted loss, a scalar on the device: reading it would wait for the
            device. Its mean over workers is the mean over the global batch.
        """
        self.optimizer.zero_grad()
        count = min(self.parts, max(self.plan.accumulate, len(images) // 2, 1))
        parts = targets.split(count)
        total = None
        for number, (pixels, part) in enumerate(
            zip(images.tensor_split(count), parts, strict=True), start=1
        ):
            loss = self._backward(pixels, part, batch_size, last=number == len(parts))
            total = loss if total is None else total + loss
        assert total is not None
        self._update()
        return total

    @property
    def scored_model(self) -> nn.Module:
        """The network that is validated and written: the average where one is kept."""
        if self.average is None:
            return self.model
        return self.average.module

    def share_buffers(self) -> None:
        """Give every rank the running statistics of rank 0, so that all score one network."""
        if self.world_size > 1:
            for buffer in self.scored_model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def state_dict(self) -> dict[str, Any]:
        """All that steps have changed, but for the generators; of live tensors, not copies."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` said; before the first `begin_epoch`.

        Raises:
            RuntimeError: It is of another network.
            ValueError: It is of another optimizer.
        """
        self.model.load_state_dict(values["model"])
        self.optimizer.load_state_dict(values["optimizer"])
        self.schedule.load_state_dict(values["schedule"])
        self.precision.scaler.load_state_dict(values["scaler"])
        if self.average is not None:
            self.average.load_state_dict(values["average"])

    def try_backward(self, images: Tensor, targets: Targets) -> None:
        """Run forward and backward as a step would, on this worker alone."""
        loss = self._forward(self.model, images, targets)
        if loss.requires_grad:
            loss.backward()

    def _backward(
        self, images: Tensor, targets: Targets, batch_size: int, *, last: bool
    ) -> Tensor:
        alone: AbstractContextManager[None] = nullcontext()
        if not last and isinstance(self.replica, DistributedDataParallel):
            # The workers' gradients are averaged once a step, not once a part; DDP decides in
            # the forward pass whether the backward one will.
            alone = self.replica.no_sync()
        with alone:
            loss = weight_share(
                self._forward(self.replica, images, targets),
                samples=len(images),
                batch_size=batch_size,
                world_size=self.world_size,
            )
            self.precision.scaler.scale(loss).backward()
        return loss.detach()

    def _forward(self, network: nn.Module, images: Tensor, targets: Targets) -> Tensor:
        """The mean loss of these images, with that of auxiliary heads."""
        with self.precision.autocast():
            output = network(self.precision.lay_out(images))
        logits, auxiliary = read_outputs(output, self.model)
        loss = self.loss(self.precision.widen(logits), targets)
        for weight, scores in auxiliary:
            loss = loss + weight * self.loss(self.precision.widen(scores), targets)
        return loss

    def _update(self) -> None:
        if self.plan.clip_norm is not None:
            self.precision.scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), self.plan.clip_norm)
        self.precision.scaler.step(self.optimizer)
        self.precision.scaler.update()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)

    def _wrap(self) -> nn.Module:
        replica = self.model
        if self.plan.compile:
            replica = _compile(replica)
        if self.world_size > 1:
            # Else the buckets are laid out anew after the first step, and again after a resume;
            # where an element lies decides in which order three or more workers' are added.
            fixed = self.world_size > 2
            replica = DistributedDataParallel(replica, find_unused_parameters=fixed)
        return replica


def _compile(network: nn.Module) -> nn.Module:
    """Made for each size of batch by itself: one made for all depends on which came first."""
    # After eight variants of a network's class torch stops compiling it, without a word.
    torch.compiler.reset()
    # Kernels that are chosen by timing them add in another order where another one won.
    options: dict[str, Any] = {"deterministic": torch.are_deterministic_algorithms_enabled()}
    return cast(nn.Module, torch.compile(network, dynamic=False, options=options))
