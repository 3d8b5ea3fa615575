"""A training in progress: network, optimizer, schedule, average and position."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from orchestrator.planning.run_plan import Numbers, Place
from orchestrator.planning.section_plans import TrainingPlan
from orchestrator.training import streams
from orchestrator.training.averaging import build_average
from orchestrator.training.context import WorkerContext
from orchestrator.training.freezing import set_trainable
from orchestrator.training.loss import LossFunction, Targets, build_loss, weight_share
from orchestrator.training.model.build import BuiltModel, build_model
from orchestrator.training.model.head import find_head
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.load_report import LoadReport
from orchestrator.training.model.outputs import read_outputs
from orchestrator.training.model.sync_batch_norm import convert_batch_norm
from orchestrator.training.optim import build_optimizer, build_schedule
from orchestrator.training.param_groups import ParamGroup, group_parameters, trainable_names
from orchestrator.training.precision import Precision


class Labels(Protocol):
    """What a state must know of the data."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of their indices."""

    @property
    def class_counts(self) -> Sequence[int]:
        """Training images of each class."""


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
    load_report: LoadReport | None = None
    average: AveragedModel | None = None
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
        built = _build_model(numbers, place, data, context.device)
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
            loss=_build_loss(numbers, place, data, device),
            groups=groups,
            plan=training,
            precision=Precision.of(
                training.precision, device, channels_last=numbers.model.channels_last
            ),
            world_size=context.world_size,
            load_report=built.load_report,
            average=build_average(model, training.ema),
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
        parts = targets.split(self.plan.accumulate)
        total = None
        for number, (pixels, part) in enumerate(
            zip(images.tensor_split(self.plan.accumulate), parts, strict=True), start=1
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

    def _backward(
        self, images: Tensor, targets: Targets, batch_size: int, *, last: bool
    ) -> Tensor:
        with self.precision.autocast():
            output = self.replica(self.precision.lay_out(images))
        logits, auxiliary = read_outputs(output, self.model)
        loss = self.loss(self.precision.widen(logits), targets)
        for weight, scores in auxiliary:
            loss = loss + weight * self.loss(self.precision.widen(scores), targets)
        loss = weight_share(
            loss, samples=len(images), batch_size=batch_size, world_size=self.world_size
        )
        if last or not isinstance(self.replica, DistributedDataParallel):
            self.precision.scaler.scale(loss).backward()
        else:
            # The workers' gradients are averaged once a step, not once a part.
            with self.replica.no_sync():
                self.precision.scaler.scale(loss).backward()
        return loss.detach()

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
            replica = cast(nn.Module, torch.compile(replica))
        if self.world_size > 1:
            replica = DistributedDataParallel(replica)
        return replica


def choose_groups(model: nn.Module, numbers: Numbers, *, num_classes: int) -> list[ParamGroup]:
    """The groups of a network's parameters, as a plan wants them.

    Raises:
        SpecError: They do not cover the network.
        TrainingError: The head is asked for and cannot be told.
    """
    tune = numbers.fine_tune
    needs_head = (
        tune.linear_probe_epochs
        or tune.layer_decay is not None
        or any(group.head for group in tune.groups)
    )
    head = find_head(model, num_classes) if needs_head else set()
    return group_parameters(model, tune, numbers.optimizer, head=head)


def _build_model(
    numbers: Numbers, place: Place, data: Labels, device: torch.device
) -> BuiltModel:
    interface = Interface(
        channels=numbers.data.channels,
        image_size=numbers.data.image_size,
        num_classes=len(data.classes),
    )
    return build_model(
        numbers.model,
        interface=interface,
        classes=data.classes,
        seed=numbers.seed,
        device=device,
        place=place,
    )


def _build_loss(
    numbers: Numbers, place: Place, data: Labels, device: torch.device
) -> LossFunction:
    return build_loss(
        numbers.loss,
        num_classes=len(data.classes),
        class_counts=data.class_counts,
        sources=place.sources,
        device=device,
    )
