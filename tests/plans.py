"""The smallest plan of each part, for tests that change one thing of it."""

from typing import Any

from orchestrator.planning.facts import DataSetFacts, Inputs
from orchestrator.planning.run_plan import CheckpointPlan
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

DIGITS = Inputs(data=DataSetFacts(train_size=800, num_classes=10, channels=1, image_size=8))
"""What planning reads of the embedded digits."""


def data_plan(**changes: Any) -> DataPlan:
    """80 digits of 8x8 pixels in batches of 32, a fifth of the labels redrawn."""
    values: dict[str, Any] = {
        "dataset": "digits",
        "arguments": {},
        "manifest": "",
        "classes": (),
        "num_classes": 10,
        "channels": 1,
        "image_size": 8,
        "batch_size": 32,
        "train_size": 80,
        "label_noise": 0.2,
        "drop_last": False,
        "val_share": 0.2,
        "test_share": 0.0,
        "sampler": "shuffle",
        "repeated_augmentation": 1,
        "train_transforms": (),
        "eval_transforms": (),
        "normalize": NormalizePlan(by="none", mean=(), std=()),
        "mixup": 0.0,
        "cutmix": 0.0,
        "mix_off_epoch": None,
        "on_corrupt": "fail",
    }
    return DataPlan(**(values | changes))


def model_plan(**changes: Any) -> ModelPlan:
    """The small CNN with its own random weights."""
    values: dict[str, Any] = {
        "architecture": "small_cnn",
        "arguments": {},
        "head": "linear",
        "weights": None,
        "initialization": "default",
        "rules": (),
        "sync_batch_norm": False,
        "channels_last": False,
    }
    return ModelPlan(**(values | changes))


def loss_plan(**changes: Any) -> LossPlan:
    """Cross-entropy, a tenth of it smoothed."""
    values: dict[str, Any] = {
        "name": "cross_entropy",
        "arguments": {},
        "label_smoothing": 0.1,
        "smoothing": "uniform",
        "class_weights": "none",
    }
    return LossPlan(**(values | changes))


def optimizer_plan(**changes: Any) -> OptimizerPlan:
    """SGD with momentum."""
    values: dict[str, Any] = {
        "name": "sgd",
        "lr": 0.1,
        "weight_decay": 5e-4,
        "decay_norm_and_bias": True,
        "arguments": {"momentum": 0.9},
    }
    return OptimizerPlan(**(values | changes))


def fine_tune_plan(**changes: Any) -> FineTunePlan:
    """One group of all parameters, from the first epoch on."""
    values: dict[str, Any] = {
        "groups": (),
        "layer_decay": None,
        "linear_probe_epochs": 0,
        "unfreeze": (),
    }
    return FineTunePlan(**(values | changes))


def schedule_plan(**changes: Any) -> SchedulePlan:
    """One cycle."""
    values: dict[str, Any] = {
        "name": "one_cycle",
        "warmup_epochs": 0.0,
        "step_epochs": 0,
        "milestones": (),
        "gamma": 1.0,
    }
    return SchedulePlan(**(values | changes))


def training_plan(**changes: Any) -> TrainingPlan:
    """Two epochs in float32."""
    values: dict[str, Any] = {
        "epochs": 2,
        "precision": "float32",
        "accumulate": 1,
        "clip_norm": None,
        "ema": None,
        "compile": False,
        "cudnn_benchmark": False,
        "early_stopping": None,
    }
    return TrainingPlan(**(values | changes))


def checkpoint_plan(**changes: Any) -> CheckpointPlan:
    """One after every epoch, two of which stay while the run is trained."""
    values: dict[str, Any] = {
        "every_epochs": 1,
        "every_steps": None,
        "keep_last": 2,
        "keep_best": 0,
        "keep_final": False,
    }
    return CheckpointPlan(**(values | changes))
