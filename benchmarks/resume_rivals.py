"""The rivals of `benchmarks/resume.py`: Lightning's `ckpt_path`, and Ray Tune's `restore`.

`python -m benchmarks.resume_rivals lightning FOLDER EPOCHS` trains, or goes on with what lies
in the folder, as each tool's own guide has it; the last line is the SHA-256 of the weights.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

BATCH = 64
TRAIN = 640
EVERY = 7
"""Steps between two checkpoints, where a tool can write one within an epoch."""


def load_digits() -> "tuple[Tensor, Tensor]":
    """The training images as float32 (N, 1, 8, 8), and their labels."""
    import torch
    from sklearn.datasets import load_digits as load

    found = load()
    images = torch.tensor(found.images[:TRAIN], dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.tensor(found.target[:TRAIN])


def digest(weights: Mapping[str, Any]) -> str:
    """SHA-256 of all tensors, in order."""
    found = hashlib.sha256()
    for tensor in weights.values():
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def train_lightning(folder: Path, epochs: int) -> str:
    """Lightning, as its guide has it: ModelCheckpoint every few steps, ckpt_path="last"."""
    import lightning  # type: ignore[import-not-found]
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.resumed_network import Counted

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = Counted(10)

        def training_step(self, batch: "tuple[Tensor, Tensor]", index: int) -> "Tensor":  # noqa: ARG002
            images, labels = batch
            return functional.cross_entropy(self.network(images), labels, label_smoothing=0.1)

        def configure_optimizers(self) -> tuple[list[object], list[dict[str, object]]]:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
            steps = epochs * TRAIN // BATCH
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    torch.set_num_threads(1)
    lightning.seed_everything(0, workers=True)
    module = Module()
    loader = DataLoader(TensorDataset(*load_digits()), batch_size=BATCH, shuffle=True)
    saving = lightning.pytorch.callbacks.ModelCheckpoint(
        folder, save_last=True, every_n_train_steps=EVERY, save_top_k=1
    )
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        deterministic=True,
        callbacks=[saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    last = folder / "last.ckpt"
    trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None)
    return digest(module.network.state_dict())


def train_function(config: dict[str, Any]) -> None:
    """A Tune trainable, as Ray's guide has it: a checkpoint after every epoch."""
    import tempfile

    import torch
    from ray import tune
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.resumed_network import Counted

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, epochs = Counted(10), config["epochs"]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    steps = epochs * TRAIN // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    loader = DataLoader(TensorDataset(*load_digits()), batch_size=BATCH, shuffle=True)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as where:
            saved = torch.load(Path(where) / "state.pt")
        first = saved.pop("epoch")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for epoch in range(first, epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
        with tempfile.TemporaryDirectory() as where:
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**state, "epoch": epoch + 1}, Path(where) / "state.pt")
            tune.report(
                {"epoch": epoch + 1, "digest": digest(network.state_dict())},
                checkpoint=tune.Checkpoint.from_directory(where),
            )


def train_tune(folder: Path, epochs: int) -> str:
    """Ray Tune; `Tuner.restore` where the folder holds an experiment."""
    import ray
    from ray import tune

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}},
    )
    path = folder / "search"
    if tune.Tuner.can_restore(str(path)):
        tuner = tune.Tuner.restore(str(path), trainable=train_function, resume_unfinished=True)
    else:
        tuner = tune.Tuner(
            train_function,
            param_space={"epochs": epochs},
            run_config=tune.RunConfig(name="search", storage_path=str(folder), verbose=0),
        )
    (result,) = tuner.fit()
    ray.shutdown()
    return str(result.metrics["digest"])


if __name__ == "__main__":
    train = {"lightning": train_lightning, "tune": train_tune}[sys.argv[1]]
    print(train(Path(sys.argv[2]), int(sys.argv[3])))
