"""A training in progress: network, optimizer, schedule and position."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from orchestrator.planning.run_plan import Numbers
from orchestrator.training import streams
from orchestrator.training.context import WorkerContext
from orchestrator.training.loss import LossFunction, build_loss, weight_share
from orchestrator.training.model.build import build_model
from orchestrator.training.optim import build_optimizer, build_schedule


@dataclass(kw_only=True)
class TrainingState:
    """Everything that a step changes, and what it needs to change it."""

    model: nn.Module
    """The network itself; `replica` wraps it where several workers train it."""
    replica: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    loss: LossFunction
    world_size: int

    @classmethod
    def begin(
        cls, numbers: Numbers, context: WorkerContext, *, steps_per_epoch: int
    ) -> "TrainingState":
        """A freshly initialised training; every rank starts with the same weights."""
        model = build_model(
            numbers.architecture,
            channels=numbers.data.channels,
            num_classes=numbers.data.num_classes,
            seed=numbers.seed,
            device=context.device,
        )
        optimizer = build_optimizer(numbers.optimizer, model)
        # What layers draw from the global generators, such as dropout, has a stream of its own.
        streams.seed_global_generators(numbers.seed, streams.LAYERS, context.rank)
        return cls(
            model=model,
            replica=DistributedDataParallel(model) if context.world_size > 1 else model,
            optimizer=optimizer,
            schedule=build_schedule(
                numbers.schedule,
                optimizer,
                epochs=numbers.epochs,
                steps_per_epoch=steps_per_epoch,
            ),
            loss=build_loss(label_smoothing=numbers.label_smoothing),
            world_size=context.world_size,
        )

    def step(self, images: Tensor, labels: Tensor, *, batch_size: int) -> Tensor:
        """One optimizer step.

        Args:
            images: This worker's part of the batch, float32, shape (B, C, H, W).
            labels: int64, shape (B,).
            batch_size: Images of all workers in this step.

        Returns:
            This worker's weighted loss, a scalar on the device: reading it would wait for the
            device. Its mean over workers is the mean over the global batch.
        """
        loss = weight_share(
            self.loss(self.replica(images), labels),
            samples=len(labels),
            batch_size=batch_size,
            world_size=self.world_size,
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    def share_buffers(self) -> None:
        """Give every rank the running statistics of rank 0, so that all score one network."""
        if self.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)
