"""How fast images reach a network: this package beside the usual PIL pipeline.

The rival is that of torchvision's classification reference: PIL decodes, torchvision's
transforms work on PIL images, each becomes a normalised float tensor, a DataLoader stacks them.
Both sides apply the same steps to the same JPEG files of 256 pixels, made here of smooth noise
that compresses like photographs. They alternate in one process, and each figure is a median.

    python -m benchmarks.data [--images 384] [--rounds 3]

The last line is one JSON object: images per second, and by what factor this package is faster
from the files and from its cache of decoded images.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from orchestrator.planning.presets import expand_preset
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan, NormalizePlan, StepPlan
from orchestrator.training.context import configure_process
from orchestrator.training.data.build import build_data
from orchestrator.training.data.loader import TrainLoader

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE: Final = 256
BATCH: Final = 64
Cache = Literal["on", "off"]
Epoch = Callable[[int], Iterator[Any]]

SIZES: Final = {"none": SIDE, "light": SIDE, "crop": 224, "imagenet": 224}
"""Cases and the sizes that images leave them with; `crop` is the reference's own two steps."""


def rival_steps(case: str) -> list[Any]:
    """What torchvision calls the steps of a case, for PIL images."""
    jitter = [transforms.ColorJitter(0.4, 0.4, 0.4), transforms.RandomRotation(10)]
    crop = [transforms.RandomResizedCrop(SIZES[case]), transforms.RandomHorizontalFlip()]
    shift = transforms.RandomCrop(SIDE, padding=SIDE // 8, padding_mode="reflect")
    return {
        "none": [],
        "light": [shift, transforms.RandomHorizontalFlip()],
        "crop": crop,
        "imagenet": [*crop, *jitter],
    }[case]


def our_steps(case: str) -> tuple[StepPlan, ...]:
    """The same as a plan has them."""
    if case == "crop":
        return expand_preset("imagenet", image_size=224, native_size=SIDE)[0][:2]
    return expand_preset(case, image_size=SIZES[case], native_size=SIDE)[0]  # type: ignore[arg-type]


def write_images(folder: Path, count: int) -> None:
    """JPEG files of two classes: noise of eight scales, as natural images have it."""
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
        for scale in range(8):
            noise = generator.standard_normal((2 ** (scale + 1),) * 2 + (3,), dtype=np.float32)
            layers = [
                np.asarray(Image.fromarray(noise[:, :, layer]).resize((SIDE, SIDE)))
                for layer in range(3)
            ]
            pixels += np.stack(layers, axis=-1) * 0.7**scale
        scaled = np.clip(pixels * 40 + 128, 0, 255).astype(np.uint8)
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scaled).save(path, quality=90)


def start_rival(root: Path, case: str, workers: int) -> Epoch:
    """The usual pipeline, its processes started once."""
    steps = [
        *rival_steps(case),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float32),
        transforms.Normalize(MEAN, STD),
    ]
    loader = DataLoader(
        datasets.ImageFolder(str(root), transforms.Compose(steps)),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda _: iter(loader)


def start_ours(root: Path, case: str, workers: int, cache: Cache) -> Epoch:
    """This package's, from the files or from the cache."""
    plan = DataPlan(
        dataset="image_folder",
        arguments={},
        manifest="",
        classes=(),
        num_classes=2,
        channels=3,
        image_size=SIZES[case],
        batch_size=BATCH,
        train_size=0,
        label_noise=0.0,
        drop_last=False,
        val_share=0.01,
        test_share=0.0,
        sampler="shuffle",
        repeated_augmentation=1,
        train_transforms=our_steps(case),
        eval_transforms=(),
        normalize=NormalizePlan(by="given", mean=MEAN, std=STD),
        mixup=0.0,
        cutmix=0.0,
        mix_off_epoch=None,
        on_corrupt="fail",
    )
    place = Place(folder="", loader_workers=workers, data_root=str(root), cache=cache)
    data = build_data(plan, place, seed=0)
    loader = TrainLoader(
        data.train,
        plan,
        seed=0,
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
        loader_workers=workers,
    )

    def epoch(number: int) -> Iterator[Any]:
        # What is read of the next epoch in the rivals' time would be had for nothing.
        loader.epochs = number
        return loader.epoch(number)

    return epoch


def images_per_second(epoch: Epoch, number: int) -> float:
    """Of one epoch, from its first batch asked for to its last one had."""
    seen = 0
    began = time.perf_counter()
    for batch in epoch(number):
        seen += len(batch[0] if isinstance(batch, list) else batch.images)
    return seen / (time.perf_counter() - began)


def measure(root: Path, case: str, workers: int, rounds: int) -> dict[str, float]:
    """Medians of all three, which take turns, and the two factors."""
    sides = {
        "pil": start_rival(root, case, workers),
        "files": start_ours(root, case, workers, "off"),
        "cache": start_ours(root, case, workers, "on"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, epoch in sides.items():
            speed = images_per_second(epoch, number + 1)
            # The first round starts processes and fills the system's own caches.
            if number > 0:
                speeds[name].append(speed)
    found = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {
        f"{name}_over_pil": statistics.median(
            ours / theirs for ours, theirs in zip(speeds[name], speeds["pil"], strict=True)
        )
        for name in ("files", "cache")
    }
    return {**found, **ratios}


def main() -> None:
    """Measure every case with and without loader processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    configure_process(threads=1, deterministic="false", device=torch.device("cpu"))
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "images"
        os.environ["ORCHESTRATOR_CACHE"] = str(Path(temporary) / "cache")
        write_images(root, arguments.images)
        for case in SIZES:
            for workers in (0, 2):
                found = measure(root, case, workers, arguments.rounds)
                rounded = {name: round(value, 2) for name, value in found.items()}
                results[f"{case},loader_workers={workers}"] = rounded
                print(f"{case:9} {workers} {rounded}", flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
