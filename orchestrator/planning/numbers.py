"""The numbers of a run: every value that can change a weight, nothing left to a default."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import SpecError
from orchestrator.planning.cluster import word_count
from orchestrator.planning.placement import LanePlan
from orchestrator.planning.run_plan import DataPlan, Numbers, OptimizerPlan, SchedulePlan
from orchestrator.planning.settings import Setting
from orchestrator.specs.experiment import ExperimentSpec, Keys, describe_setting

DEFAULT_LR: Final = {"sgd": 0.1, "adamw": 0.001}
DEFAULT_MOMENTUM: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class DataSetFacts:
    """What planning must know of a data set without reading its images."""

    train_size: int
    num_classes: int
    channels: int
    image_size: int


DATA_SETS: Final = {
    "digits": DataSetFacts(train_size=800, num_classes=10, channels=1, image_size=8)
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shortcuts of the command line, for debugging."""

    fast_dev_run: int | None = None
    """Train and validate this many batches of one epoch, with the first seed alone."""
    overfit_batches: int | None = None
    """Train on this many batches, the same in every epoch."""


def check_settings(spec: ExperimentSpec, settings: Iterable[Setting]) -> None:
    """Refuse what no machine could train: too few images, for a setting or for a last batch.

    Args:
        spec: What was asked.
        settings: The settings that it means.

    Raises:
        SpecError: Names every key once, with the first setting that it is wrong for.
    """
    found: dict[str, str] = {}
    for setting in settings:
        searched = {key: value for key, value in setting.items() if key.startswith("data.")}
        at = f", at {describe_setting(searched)}" if searched else ""
        for key, text in _check_data(spec.at(setting)):
            found.setdefault(key, f"{spec.place_of(key)}: {key}: {text}{at}")
    if found:
        raise SpecError(list(found.values()))


def _check_data(keys: Keys) -> Iterator[tuple[str, str]]:
    available = DATA_SETS[keys.data.dataset].train_size
    images = keys.data.train_size or available
    if images > available:
        text = f"{keys.data.dataset} has {available} training images (got {images})"
        yield "data.train_size", f"{text}; set it to that at most"
        return
    problem = _check_batches(
        images,
        keys.data.batch_size,
        workers=keys.resources.num_workers,
        drop_last=keys.data.drop_last,
    )
    if problem:
        yield "data.batch_size", problem


def _check_batches(images: int, size: int, *, workers: int, drop_last: bool) -> str:
    """Batch normalisation needs two images on every worker, in every step."""
    last = images % size
    if size // workers < 2:
        return (
            f"{size} images over {workers} workers leave one fewer than 2; "
            f"set it to {2 * workers} at least"
        )
    if drop_last and images < size:
        return (
            f"{size} is more than the {images} training images, and data.drop_last leaves "
            "no batch"
        )
    if last and last // workers < 2 and not drop_last:
        return (
            f"the last batch of an epoch has {last} of {size} images, fewer than 2 for each of "
            f"{word_count(workers, 'worker')}; set data.drop_last: true or another batch_size"
        )
    return ""


def resolve_numbers(
    spec: ExperimentSpec, setting: Setting, *, seed: int, lanes: LanePlan, limits: Limits
) -> Numbers:
    """Decide all that can change a weight of one run.

    Args:
        spec: What was asked.
        setting: The searched keys' values.
        seed: The run's seed.
        lanes: What its lane is made of.
        limits: Shortcuts for debugging.
    """
    keys = spec.at(setting)
    return Numbers(
        seed=seed,
        deterministic=lanes.deterministic,
        architecture=keys.model.architecture,
        data=_resolve_data(keys),
        loss=keys.loss.name,
        label_smoothing=keys.loss.label_smoothing,
        optimizer=_resolve_optimizer(keys),
        schedule=SchedulePlan(name=keys.schedule.name, warmup_epochs=_warmup(keys, limits)),
        epochs=1 if limits.fast_dev_run else keys.training.epochs,
        world_size=lanes.workers,
        threads=lanes.cpus_per_worker,
        device=lanes.device,
        limit_batches=limits.fast_dev_run,
        overfit_batches=limits.overfit_batches,
    )


def _warmup(keys: Keys, limits: Limits) -> float:
    """One epoch in place of all has a warm-up of the same share of it."""
    shrunk = keys.training.epochs if limits.fast_dev_run else 1
    return keys.schedule.warmup_epochs / shrunk


def _resolve_data(keys: Keys) -> DataPlan:
    facts = DATA_SETS[keys.data.dataset]
    return DataPlan(
        dataset=keys.data.dataset,
        num_classes=facts.num_classes,
        # torchvision's networks take colour images; grey ones are repeated three times.
        channels=facts.channels if keys.model.architecture == "small_cnn" else 3,
        image_size=keys.data.image_size or facts.image_size,
        batch_size=keys.data.batch_size,
        train_size=keys.data.train_size or facts.train_size,
        label_noise=keys.data.label_noise,
        drop_last=keys.data.drop_last,
    )


def _resolve_optimizer(keys: Keys) -> OptimizerPlan:
    lr = DEFAULT_LR[keys.optimizer.name] if keys.optimizer.lr is None else keys.optimizer.lr
    momentum = keys.optimizer.momentum
    if momentum is None:
        momentum = DEFAULT_MOMENTUM if keys.optimizer.name == "sgd" else 0.0
    return OptimizerPlan(
        name=keys.optimizer.name,
        backbone_lr=keys.fine_tune.backbone_lr if keys.fine_tune else lr,
        head_lr=keys.fine_tune.head_lr if keys.fine_tune else lr,
        momentum=momentum,
        weight_decay=keys.optimizer.weight_decay,
    )
