"""What no machine could train, found before one is asked: too few images, weights, classes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator.errors import SpecError
from orchestrator.planning.cluster import word_count
from orchestrator.planning.data_numbers import choose_channels
from orchestrator.planning.facts import DataSetFacts, known_facts
from orchestrator.planning.settings import Setting
from orchestrator.specs.experiment import ExperimentSpec, Keys, describe_setting
from orchestrator.specs.names import LOSSES


def check_settings(
    spec: ExperimentSpec, settings: Iterable[Setting], facts: DataSetFacts | None = None
) -> None:
    """Refuse what no machine could train, for any of the settings.

    Args:
        spec: What was asked.
        settings: The settings that it means.
        facts: What the data set holds; None where its files were not looked at.

    Raises:
        SpecError: Names every key once, with the first setting that it is wrong for.
    """
    with located(spec):
        facts = facts or known_facts(spec.keys.data)
    found: dict[str, str] = {}
    for setting in settings:
        for key, text in _check_setting(spec.at(setting), facts):
            part = key.partition(".")[0]
            searched = {k: v for k, v in setting.items() if k.partition(".")[0] == part}
            at = f", at {describe_setting(searched)}" if searched else ""
            found.setdefault(key, f"{spec.place_of(key)}: {key}: {text}{at}")
    if found:
        raise SpecError(list(found.values()))


@contextmanager
def located(spec: ExperimentSpec) -> Iterator[None]:
    """Put the place of the key before what is wrong with it: `key: text` is raised within."""
    try:
        yield
    except SpecError as error:
        raise SpecError(
            [f"{spec.place_of(text.partition(':')[0])}: {text}" for text in error.mistakes]
        ) from error


def _check_setting(keys: Keys, facts: DataSetFacts | None) -> Iterator[tuple[str, str]]:
    yield from _check_shares(keys)
    if facts is None:
        return
    if facts.num_classes < 2:
        text = f"{keys.data.dataset} has one class alone; needs images of two classes or more"
        yield "data.dataset", text
    if keys.data.train_size and keys.data.train_size > facts.train_size:
        text = f"{keys.data.dataset} has {facts.train_size} training images"
        yield "data.train_size", f"{text} (got {keys.data.train_size}); set it to that at most"
        return
    problem = _check_batches(keys, keys.data.train_size or facts.train_size)
    if problem:
        yield "data.batch_size", problem
    weights = keys.loss.class_weights
    if (
        keys.loss.name in LOSSES
        and not isinstance(weights, str)
        and len(weights) != facts.num_classes
    ):
        text = f"must be one number for each of {facts.num_classes} classes"
        yield "loss.class_weights", f"{text} (got {len(weights)})"
    for key in ("mean", "std"):
        values = getattr(keys.data, key)
        channels = choose_channels(keys, facts)
        if keys.data.normalize == "given" and values and len(values) not in (1, channels):
            text = f"must be one number for each of {channels} channels, or one for all"
            yield f"data.{key}", f"{text} (got {len(values)})"


def _check_shares(keys: Keys) -> Iterator[tuple[str, str]]:
    """Batch normalisation needs two images on every worker, in every part of a step."""
    size, workers = keys.data.batch_size, keys.resources.num_workers
    if size // workers < 2:
        yield (
            "data.batch_size",
            f"{size} images over {workers} workers leave one fewer than 2; "
            f"set it to {2 * workers} at least",
        )
    elif keys.training.accumulate > 1 and size // workers // keys.training.accumulate < 2:
        share = size // workers
        yield (
            "training.accumulate",
            f"{share} images per worker cannot be cut into {keys.training.accumulate} parts of "
            f"2 or more; set it to {share // 2} at most",
        )
    if size % keys.data.repeated_augmentation:
        copies = keys.data.repeated_augmentation
        yield (
            "data.repeated_augmentation",
            f"must divide data.batch_size, {size} (got {copies})",
        )


def _check_batches(keys: Keys, images: int) -> str:
    size, workers = keys.data.batch_size, keys.resources.num_workers
    last = images % size
    if keys.data.drop_last:
        if images < size:
            return (
                f"{size} is more than the {images} training images, and data.drop_last leaves "
                "no batch"
            )
        return ""
    parts = keys.training.accumulate
    if last and last // workers >= 2 and last // workers // parts < 2:
        return (
            f"the last batch of an epoch has {last} of {size} images, fewer than 2 for each of "
            f"{parts} parts (training.accumulate) of {word_count(workers, 'worker')}; "
            "set data.drop_last: true or another batch_size"
        )
    if last and last // workers < 2:
        return (
            f"the last batch of an epoch has {last} of {size} images, fewer than 2 for each of "
            f"{word_count(workers, 'worker')}; set data.drop_last: true or another batch_size"
        )
    return ""
