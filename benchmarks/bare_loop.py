"""The rival: the demo's trainings as a hand-written PyTorch loop, one process, one by one.

Only the random numbers are shared with the tool, so that both train the very same networks; the
network, the batches, the loss, the schedule and the evaluation are written out as one would.

Prints one JSON object: seconds to the first epoch's end since the process began, seconds of
each run, SHA-256 of each run's final weights, accuracies.
"""

import time

BEGAN = time.perf_counter()

import argparse  # noqa: E402  the clock starts before anything is imported
import hashlib  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from orchestrator.planning.run_plan import Place  # noqa: E402
from orchestrator.planning.section_plans import DataPlan, NormalizePlan  # noqa: E402
from orchestrator.training.data.build import build_data  # noqa: E402
from orchestrator.training.streams import derive_seed  # noqa: E402

VALUES = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
EPOCHS = 12
BATCH = 64
DATA = DataPlan(
    dataset="digits",
    arguments={},
    manifest="",
    classes=(),
    num_classes=10,
    channels=1,
    image_size=8,
    batch_size=BATCH,
    train_size=600,
    label_noise=0.2,
    drop_last=False,
    val_share=0.2,
    test_share=0.0,
    sampler="shuffle",
    repeated_augmentation=1,
    train_transforms=(),
    eval_transforms=(),
    normalize=NormalizePlan(by="none", mean=(), std=()),
    mixup=0.0,
    cutmix=0.0,
    mix_off_epoch=None,
    on_corrupt="fail",
)
PLACE = Place(folder="", loader_workers=0)


class Network(nn.Module):
    """The demo's network, written again."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores (B, 10) of images (B, 1, 8, 8)."""
        scores: torch.Tensor = self.head(self.features(images))
        return scores


def train(smoothing: float, seed: int, on_epoch: list[float]) -> tuple[float, str]:
    """Train one network; its accuracy and the digest of its weights."""
    data = build_data(DATA, PLACE, seed=seed)
    images = data.train.images.float() / 255
    labels = data.train.labels
    val_images, val_labels = data.val.images.float() / 255, data.val.labels
    seed_everything(derive_seed(seed, "initialization"))
    network = Network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    steps = -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=EPOCHS * steps, cycle_momentum=False
    )
    accuracy = 0.0
    for epoch in range(1, EPOCHS + 1):
        network.train()
        generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
        losses = []
        for batch in torch.randperm(len(labels), generator=generator).split(BATCH):
            loss = functional.cross_entropy(
                network(images[batch]), labels[batch], label_smoothing=smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad():
            scores = network(val_images)
            accuracy = (scores.argmax(1) == val_labels).double().mean().item()
            functional.cross_entropy(scores, val_labels).item()
        on_epoch.append(time.perf_counter() - BEGAN)
    return accuracy, digest(network)


def seed_everything(seed: int) -> None:
    """The cheat-sheets' way."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the global one is meant
    torch.manual_seed(seed)


def digest(network: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor."""
    result = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        result.update(tensor.numpy().tobytes())
    return result.hexdigest()


def main() -> None:
    """Train the grid and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    epochs: list[float] = []
    runs = {}
    for smoothing in VALUES:
        for seed in range(arguments.seeds):
            began = time.perf_counter()
            accuracy, weights = train(smoothing, seed, epochs)
            runs[f"label_smoothing={smoothing:g},seed={seed}"] = {
                "seconds": time.perf_counter() - began,
                "accuracy": accuracy,
                "weights": weights,
            }
    print(json.dumps({"first_epoch_s": epochs[0], "runs": runs}))


if __name__ == "__main__":
    main()
