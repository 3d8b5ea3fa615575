"""What a training step costs: this package's loop beside one written by hand.

Both train the same network on the same images in memory, with the same batches, loss, optimizer
and schedule; they take turns in one process with one thread, as a lane has it, and a figure is
the median of the pairs' ratios: above 1, this package is the faster one.

    python -m benchmarks.training                   about 2 minutes on 2 cores
    python -m benchmarks.training --device cuda     ResNet-50 at 224 pixels, in bfloat16

On a GPU it measures what feeds the network: a batch that is there already, images from memory
through the loader, and JPEG files. Needs PyTorch, torchvision, NumPy and Pillow alone. The last
line is one JSON object.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from orchestrator.planning.presets import expand_preset
from orchestrator.planning.run_plan import Numbers, Place
from orchestrator.planning.section_plans import (
    DataPlan,
    FineTunePlan,
    LossPlan,
    ModelPlan,
    NormalizePlan,
    OptimizerPlan,
    SchedulePlan,
    TrainingPlan,
)
from orchestrator.training.context import Verdict, WorkerContext, configure_process
from orchestrator.training.data.build import RunData, build_data
from orchestrator.training.data.image_set import TensorPixels, image_set
from orchestrator.training.data.loader import TrainLoader
from orchestrator.training.data.normalization import Normalization
from orchestrator.training.loss import Targets
from orchestrator.training.state import TrainingState

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LR, MOMENTUM, DECAY, SMOOTHING = 0.1, 0.9, 5e-4, 0.1
EPOCHS = 1000
"""Of the schedule: more than are measured, so that it never ends."""
Epoch = Callable[[int], int]
"""Trains one epoch, counted from 1; how many steps it took."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, and what it is fed."""

    network: str
    channels: int
    side: int
    classes: int
    images: int
    batch: int
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    workers: int = 0


DIGITS = Case(network="small_cnn", channels=1, side=8, classes=10, images=800, batch=64)
RESNET = Case(network="resnet18", channels=3, side=64, classes=10, images=192, batch=64)
LARGE = Case(
    network="resnet50",
    channels=3,
    side=224,
    classes=1000,
    images=4096,
    batch=256,
    precision="bfloat16",
    channels_last=True,
    compile=True,
    workers=8,
)


def decide(case: Case, device: torch.device) -> Numbers:
    """The plan of a case."""
    cuda = device.type == "cuda"
    return Numbers(
        seed=0,
        deterministic="false" if cuda else "true",
        data=DataPlan(
            dataset="synthetic",
            arguments={},
            manifest="",
            classes=(),
            num_classes=case.classes,
            channels=case.channels,
            image_size=case.side,
            batch_size=case.batch,
            train_size=0,
            label_noise=0.0,
            drop_last=True,
            val_share=0.1,
            test_share=0.0,
            sampler="shuffle",
            repeated_augmentation=1,
            train_transforms=(),
            eval_transforms=(),
            normalize=NormalizePlan(by="given", mean=MEAN, std=STD),
            mixup=0.0,
            cutmix=0.0,
            mix_off_epoch=None,
            on_corrupt="fail",
        ),
        model=ModelPlan(
            architecture=case.network,
            arguments={},
            head="linear",
            weights=None,
            initialization="default",
            rules=(),
            sync_batch_norm=False,
            channels_last=case.channels_last,
        ),
        loss=LossPlan(
            name="cross_entropy",
            arguments={},
            label_smoothing=SMOOTHING,
            smoothing="uniform",
            class_weights="none",
        ),
        optimizer=OptimizerPlan(
            name="sgd",
            lr=LR,
            weight_decay=DECAY,
            decay_norm_and_bias=True,
            arguments={"momentum": MOMENTUM},
        ),
        fine_tune=FineTunePlan(groups=(), layer_decay=None, linear_probe_epochs=0, unfreeze=()),
        schedule=SchedulePlan(
            name="one_cycle", warmup_epochs=0.0, step_epochs=0, milestones=(), gamma=1.0
        ),
        training=TrainingPlan(
            epochs=EPOCHS,
            precision=case.precision,
            accumulate=1,
            clip_norm=None,
            ema=None,
            compile=case.compile,
            cudnn_benchmark=cuda,
            early_stopping=None,
        ),
        world_size=1,
        threads=1,
        device="cuda" if cuda else "cpu",
        sources="",
        limit_batches=None,
        overfit_batches=None,
    )


def make_images(case: Case) -> tuple[Tensor, Tensor]:
    """Noise, uint8 (N, C, H, W), and labels (N,): a step costs the same on any image."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.images, case.channels, case.side, case.side)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return images, torch.arange(case.images) % case.classes


class Ours:
    """The loop of this package: its loader and its steps, as `train` puts them together."""

    def __init__(self, case: Case, device: torch.device, *, turn: int = 1) -> None:
        self.turn = turn
        """Epochs of a turn: what is read ahead in the rival's time would be had for nothing."""
        numbers = decide(case, device)
        place = Place(folder="", loader_workers=case.workers)
        context = WorkerContext(rank=0, world_size=1, device=device, report=_go_on)
        data = in_memory(case)
        self.loader = TrainLoader(
            data.train,
            numbers.data,
            seed=0,
            rank=0,
            world_size=1,
            device=device,
            loader_workers=case.workers,
        )
        self.state = TrainingState.begin(
            numbers, place, data, context, steps_per_epoch=self.loader.steps_per_epoch
        )
        self.batch: tuple[Tensor, Targets] | None = None

    def epoch(self, number: int) -> int:
        """Train one epoch; how many steps."""
        self.loader.epochs = -(-number // self.turn) * self.turn
        self.state.begin_epoch(number)
        losses = []
        for batch in self.loader.epoch(number):
            targets = Targets(batch.labels, batch.partner_labels, batch.lam)
            losses.append(self.state.step(batch.images, targets, batch_size=batch.batch_size))
        torch.stack(losses).sum().item()
        return len(losses)

    def same_batch(self, number: int) -> int:
        """As many steps on a batch that is on the device already."""
        self.state.begin_epoch(number)
        if self.batch is None:
            first = next(iter(self.loader.epoch(1)))
            self.batch = first.images, Targets(first.labels, None, 1.0)
        images, targets = self.batch
        steps = self.loader.steps_per_epoch
        losses = [
            self.state.step(images, targets, batch_size=len(images)) for _ in range(steps)
        ]
        torch.stack(losses).sum().item()
        return steps


def _go_on(epoch: int, metrics: Mapping[str, float]) -> Verdict:  # noqa: ARG001
    return "continue"


class ByHand:
    """The same, written out: what a careful author writes without this package."""

    def __init__(
        self, case: Case, device: torch.device, batches: Callable[[], Iterator[Any]], steps: int
    ) -> None:
        self.case, self.device, self.batches, self.steps = case, device, batches, steps
        self.mean, self.std = (
            torch.tensor(values[: case.channels], device=device)[:, None, None]
            for values in (MEAN, STD)
        )
        self.format = torch.channels_last if case.channels_last else torch.contiguous_format
        self.network = build_by_hand(case).to(device).to(memory_format=self.format)
        self.compiled = torch.compile(self.network) if case.compile else self.network
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY
        )
        self.schedule = OneCycleLR(
            self.optimizer, max_lr=LR, total_steps=EPOCHS * steps, cycle_momentum=False
        )
        self.batch: tuple[Tensor, Tensor] | None = None

    def epoch(self, number: int) -> int:  # noqa: ARG002  each pass draws its own order
        """Train one epoch; how many steps."""
        self.network.train()
        losses = [self.step(*self.prepare(images, labels)) for images, labels in self.batches()]
        torch.stack(losses).sum().item()
        return len(losses)

    def same_batch(self, number: int) -> int:  # noqa: ARG002
        """As many steps on a batch that is on the device already."""
        if self.batch is None:
            self.batch = self.prepare(*next(self.batches()))
        self.network.train()
        losses = [self.step(*self.batch) for _ in range(self.steps)]
        torch.stack(losses).sum().item()
        return self.steps

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised floats on the device; PIL's pipeline has normalised already."""
        images = images.to(self.device, non_blocking=True)
        if images.dtype == torch.uint8:
            images = (images.float() / 255 - self.mean) / self.std
        return images, labels.to(self.device, non_blocking=True)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimizer step; the loss."""
        images = images.contiguous(memory_format=self.format)
        low = self.case.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits = self.compiled(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()


def build_by_hand(case: Case) -> nn.Module:
    """The network, of torchvision, or the small one written again."""
    if case.network != "small_cnn":
        from torchvision import models

        network: nn.Module = models.get_model(case.network, num_classes=case.classes)
        return network

    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *convolution(case.channels, 16),
        *convolution(16, 32),
        nn.MaxPool2d(2),
        *convolution(32, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, case.classes),
    )


def in_memory(case: Case) -> RunData:
    """The noise as this package's data."""
    images, labels = make_images(case)
    train = image_set(TensorPixels(images), labels)
    plain = Normalization(MEAN[: case.channels], STD[: case.channels])
    names = tuple(map(str, range(case.classes)))
    return RunData(names, {"train": replace(train, normalization=plain)}, ())


def shuffled(case: Case) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """Batches of uint8 images in memory, in a new order each time."""
    images, labels = make_images(case)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(case.images)
        for batch in order[: case.images // case.batch * case.batch].split(case.batch):
            yield images[batch], labels[batch]

    return batches


def take_turns(
    ours: Epoch, theirs: Epoch, *, rounds: int, epochs: int, device: torch.device
) -> tuple[float, float, float, list[float]]:
    """Steps per second of both, and the median and all of the ratios of the pairs."""
    speeds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        # Who comes first changes, so that neither always meets the warmer caches.
        for side in (0, 1) if turn % 2 else (1, 0):
            epoch = (ours, theirs)[side]
            began, steps = time.perf_counter(), 0
            for number in range(epochs):
                steps += epoch(turn * epochs + number + 1)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            # The first turn compiles, allocates and starts processes.
            if turn > 0:
                speeds[side].append(steps / (time.perf_counter() - began))
    ratios = [a / b for a, b in zip(*speeds, strict=True)]
    medians = [statistics.median(values) for values in speeds]
    return medians[0], medians[1], statistics.median(ratios), ratios


def measure_loop(cases: Mapping[str, tuple[Case, int, int]]) -> dict[str, Any]:
    """On a CPU: each case beside the hand-written loop, then bfloat16 beside float32."""
    device = torch.device("cpu")
    results: dict[str, Any] = {}
    for name, (case, epochs, rounds) in cases.items():
        ours = Ours(case, device, turn=epochs)
        rival = ByHand(case, device, shuffled(case), ours.loader.steps_per_epoch)
        results[f"{name}_over_hand_written"] = _turn(
            name, ours.epoch, rival.epoch, rounds=rounds, epochs=epochs, device=device
        )
        fast = replace(case, precision="bfloat16", channels_last=True)
        results[f"{name}_bfloat16_over_float32"] = _turn(
            f"{name} bfloat16 / float32",
            Ours(fast, device, turn=epochs).epoch,
            Ours(case, device, turn=epochs).epoch,
            rounds=rounds,
            epochs=epochs,
            device=device,
        )
    return results


def measure_feed(
    case: Case, device: torch.device, *, rounds: int, epochs: int
) -> dict[str, Any]:
    """On a GPU: images per second by where they come from, beside the hand-written loop."""
    results: dict[str, Any] = {}
    options: dict[str, Any] = {"rounds": rounds, "epochs": epochs, "device": device}
    ours = Ours(case, device, turn=epochs)
    images, labels = make_images(case)
    loader = usual_loader(TensorDataset(images, labels), case)
    rival = ByHand(case, device, loader.__iter__, len(loader))
    for name, mine, theirs in (
        ("on_the_device", ours.same_batch, rival.same_batch),
        ("from_memory", ours.epoch, rival.epoch),
    ):
        results[name] = _turn(name, mine, theirs, images=case.batch, **options)
    ours.loader.close()
    rival.batches = shuffled(case)
    del loader
    with tempfile.TemporaryDirectory() as folder:
        files = read_files(case, Path(folder))
        ours.loader = files[0]
        rival.batches = files[1]
        results["from_jpeg"] = _turn(
            "from_jpeg", ours.epoch, rival.epoch, images=case.batch, **options
        )
        ours.loader.close()
    return results


def read_files(case: Case, folder: Path) -> tuple[TrainLoader, Callable[[], Iterator[Any]]]:
    """JPEG files, cropped at random and flipped: our loader, and the usual pipeline of PIL."""
    from torchvision import datasets, transforms

    from benchmarks.data import write_images

    os.environ["ORCHESTRATOR_CACHE"] = str(folder / "cache")
    write_images(folder / "images", case.images)
    steps = expand_preset("imagenet", image_size=case.side, native_size=256)[0][:2]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = replace(
        decide(case, device).data,
        dataset="image_folder",
        num_classes=2,
        train_transforms=steps,
    )
    place = Place(
        folder="", loader_workers=case.workers, data_root=str(folder / "images"), cache="on"
    )
    loader = TrainLoader(
        build_data(plan, place, seed=0).train,
        plan,
        seed=0,
        rank=0,
        world_size=1,
        device=device,
        loader_workers=case.workers,
    )
    crop = transforms.Compose(
        [
            transforms.RandomResizedCrop(case.side),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    usual = usual_loader(datasets.ImageFolder(str(folder / "images"), crop), case)
    return loader, usual.__iter__


def usual_loader(images: Any, case: Case) -> DataLoader[Any]:  # noqa: ANN401  a data set
    """The DataLoader, as torch's tutorials set it up for a GPU."""
    return DataLoader(
        images,
        batch_size=case.batch,
        shuffle=True,
        drop_last=True,
        num_workers=case.workers,
        persistent_workers=case.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _turn(
    name: str,
    ours: Epoch,
    theirs: Epoch,
    *,
    images: int = 1,
    **options: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Measure, print a line, round."""
    mine, other, ratio, ratios = take_turns(ours, theirs, **options)
    unit = "steps" if images == 1 else "images"
    print(
        f"{name:36} {mine * images:10.2f} {unit}/s  beside {other * images:10.2f}  "
        f"ratio {ratio:.3f}",
        flush=True,
    )
    return {
        f"{unit}_per_second": round(mine * images, 2),
        "beside": round(other * images, 2),
        "ratio": round(ratio, 3),
        "ratios": [round(min(ratios), 3), round(max(ratios), 3)],
        "turns": len(ratios),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the device is for, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--only", choices=("digits", "resnet18", "feed"), help="One part; `feed` as on a GPU."
    )
    parser.add_argument("--network", default=LARGE.network, help="Of the feed.")
    parser.add_argument("--side", type=int, default=LARGE.side)
    parser.add_argument("--batch", type=int, default=LARGE.batch)
    parser.add_argument("--images", type=int, default=LARGE.images)
    parser.add_argument("--workers", type=int, default=LARGE.workers)
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    cuda = device.type == "cuda"
    configure_process(
        threads=1, deterministic="false" if cuda else "true", device=_numbered(device)
    )
    torch.backends.cudnn.benchmark = cuda
    results: dict[str, Any] = {"device": _describe(device), "torch": str(torch.__version__)}
    if cuda or given.only == "feed":
        case = replace(
            LARGE,
            network=given.network,
            side=given.side,
            batch=given.batch,
            images=given.images,
            workers=given.workers,
            compile=not given.no_compile,
        )
        results |= measure_feed(case, _numbered(device), rounds=given.rounds, epochs=3)
    else:
        # Short turns and many of them: a neighbour on the machine then disturbs few pairs.
        cases = {
            "digits": (DIGITS, 4, 5 * given.rounds),
            "resnet18": (RESNET, 1, given.rounds),
        }
        kept = cases if given.only is None else {given.only: cases[given.only]}
        results |= measure_loop(kept)
    print(json.dumps(results))


def _numbered(device: torch.device) -> torch.device:
    return torch.device("cuda", 0) if device.type == "cuda" else device


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu, 1 thread"


if __name__ == "__main__":
    main()
