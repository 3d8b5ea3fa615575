"""The numbers of a run: every value that can change a weight, nothing left to a default."""

import json
from dataclasses import asdict, dataclass
from typing import Final

from orchestrator.planning.data_numbers import resolve_data
from orchestrator.planning.facts import Inputs
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.rates import resolve_fine_tune, resolve_optimizer
from orchestrator.planning.run_plan import Numbers
from orchestrator.planning.section_plans import (
    EarlyStoppingPlan,
    LossPlan,
    ModelPlan,
    SchedulePlan,
    TensorRulePlan,
    TrainingPlan,
    WeightsPlan,
)
from orchestrator.planning.settings import Setting
from orchestrator.specs.experiment import ExperimentSpec, Keys
from orchestrator.specs.model_section import ModelSpec, is_torchvision_weights
from orchestrator.specs.names import LOSSES
from orchestrator.specs.search import METRICS
from orchestrator.specs.training_sections import LossSpec, ScheduleSpec, TrainingSpec

DEFAULT_GAMMA: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shortcuts of the command line, for debugging."""

    fast_dev_run: int | None = None
    """Train and validate this many batches of one epoch, with the first seed alone."""
    overfit_batches: int | None = None
    """Train on this many batches, the same in every epoch."""


def resolve_numbers(
    spec: ExperimentSpec,
    setting: Setting,
    *,
    seed: int,
    lanes: LanePlan,
    limits: Limits,
    inputs: Inputs,
) -> Numbers:
    """Decide all that can change a weight of one run.

    Args:
        spec: What was asked.
        setting: The searched keys' values.
        seed: The run's seed.
        lanes: What its lane is made of.
        limits: Shortcuts for debugging.
        inputs: What was read before planning.
    """
    keys = spec.at(setting)
    optimizer = resolve_optimizer(keys.optimizer, batch_size=keys.data.batch_size)
    return Numbers(
        seed=seed,
        deterministic=lanes.deterministic,
        data=resolve_data(keys, inputs.data),
        model=_resolve_model(keys.model, inputs),
        loss=_resolve_loss(keys.loss),
        optimizer=optimizer,
        fine_tune=resolve_fine_tune(keys, optimizer),
        schedule=_resolve_schedule(keys, limits),
        training=_resolve_training(keys, limits),
        world_size=lanes.request.workers,
        threads=lanes.cpus_per_worker,
        device=lanes.device,
        sources=inputs.sources,
        installed=inputs.installed,
        limit_batches=limits.fast_dev_run,
        overfit_batches=limits.overfit_batches,
    )


def identify_network(numbers: Numbers) -> str:
    """What decides a network, what it is fed and which parameters are a group, as text.

    Rates are left out: a search over them is a search over one network.
    """
    data, tune, optimizer = numbers.data, numbers.fine_tune, numbers.optimizer
    groups = [(rule.match, rule.type, rule.head, rule.lr > 0) for rule in tune.groups]
    parts = [
        asdict(numbers.model),
        [optimizer.name, dict(optimizer.arguments), optimizer.decay_norm_and_bias],
        [groups, [(rule.match, rule.epoch) for rule in tune.unfreeze]],
        [tune.linear_probe_epochs, tune.layer_decay is None],
        [asdict(step) for step in (*data.train_transforms, *data.eval_transforms)],
        [data.channels, data.image_size, data.num_classes],
    ]
    return json.dumps(parts, sort_keys=True)


def _resolve_model(model: ModelSpec, inputs: Inputs) -> ModelPlan:
    has_all = model.architecture == "small_cnn"
    return ModelPlan(
        architecture=model.architecture,
        arguments={} if has_all else model.arguments,
        head="linear" if has_all else model.head,
        weights=_resolve_weights(model, inputs),
        initialization=model.initialization,
        rules=tuple(
            TensorRulePlan(
                match=rule.match,
                file=inputs.tensors[file].path,
                key=key,
                sha256=inputs.tensors[file].sha256,
            )
            for rule in model.rules
            for file, _, key in [rule.tensor.rpartition(":")]
        ),
        sync_batch_norm=model.sync_batch_norm,
        channels_last=model.channels_last,
    )


def _resolve_weights(model: ModelSpec, inputs: Inputs) -> WeightsPlan | None:
    if model.weights is None:
        return None
    known = is_torchvision_weights(model.weights)
    return WeightsPlan(
        source=model.weights,
        sha256="" if known else inputs.weights[model.weights].sha256,
        strict=model.strict,
        min_loaded=model.min_loaded,
    )


def _resolve_loss(loss: LossSpec) -> LossPlan:
    ours = loss.name in LOSSES
    return LossPlan(
        name=loss.name,
        arguments={} if ours else loss.arguments,
        label_smoothing=loss.label_smoothing,
        smoothing=loss.smoothing if loss.label_smoothing else "uniform",
        class_weights=loss.class_weights if ours else "none",
    )


def _resolve_schedule(keys: Keys, limits: Limits) -> SchedulePlan:
    schedule: ScheduleSpec = keys.schedule
    # One epoch in place of all has a warm-up of the same share of it.
    shrunk = keys.training.epochs if limits.fast_dev_run else 1
    name = schedule.name
    falls = name in ("step", "multistep")
    return SchedulePlan(
        name=name,
        warmup_epochs=schedule.warmup_epochs / shrunk,
        step_epochs=(schedule.step_epochs or 0) if name == "step" else 0,
        milestones=(schedule.milestones or ()) if name == "multistep" else (),
        gamma=(schedule.gamma or DEFAULT_GAMMA) if falls else 1.0,
    )


def count_parts(keys: Keys) -> int:
    """Parts that a worker's share of a batch is cut into; 0 for as few as fit."""
    micro_batch = keys.training.micro_batch
    if micro_batch is None:
        return keys.training.accumulate
    if micro_batch == "auto":
        return 0
    share = -(-keys.data.batch_size // keys.resources.num_workers)
    parts: int = -(-share // micro_batch)
    return parts


def _resolve_training(keys: Keys, limits: Limits) -> TrainingPlan:
    training: TrainingSpec = keys.training
    stopping = training.early_stopping
    return TrainingPlan(
        epochs=1 if limits.fast_dev_run else training.epochs,
        precision=training.precision,
        accumulate=count_parts(keys),
        clip_norm=training.clip_norm,
        ema=training.ema,
        compile=training.compile,
        cudnn_benchmark=training.cudnn_benchmark,
        early_stopping=None
        if stopping is None
        else EarlyStoppingPlan(
            metric=stopping.metric,
            maximize=METRICS[stopping.metric].maximize,
            patience=stopping.patience,
            min_delta=stopping.min_delta,
        ),
    )
