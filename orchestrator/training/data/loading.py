"""A data set by its name: opened, reduced to the wanted classes, its files found readable.

All of this is the same for every seed; what a run's seed chooses comes afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import torch

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.digits import load_digits
from orchestrator.training.data.files import open_files
from orchestrator.training.data.folders import SCANS, load_files
from orchestrator.training.data.image_set import ImageSet
from orchestrator.training.data.own_set import load_own
from orchestrator.training.data.raw_set import RawPart, RawSet
from orchestrator.training.data.reading import preserved_generators
from orchestrator.training.data.synthetic import load_synthetic
from orchestrator.training.data.torchvision_loading import load_torchvision
from orchestrator.training.data.torchvision_sets import SETS
from orchestrator.training.own_code import is_own_code


@dataclass(frozen=True, eq=False)
class LoadedSet:
    """A data set that can be read from."""

    classes: tuple[str, ...]
    """Names, in the order of their indices."""
    parts: Mapping[str, ImageSet]
    skipped: tuple[str, ...]
    """Files that cannot be read and were left out."""


def load_set(plan: DataPlan, place: Place, parts: tuple[str, ...]) -> LoadedSet:
    """Open the parts of a data set that are wanted.

    Args:
        plan: Key `data`, decided.
        place: Where the data lies.
        parts: Those that are wanted among `train`, `val` and `test`.

    Raises:
        TrainingError: The data is not there, cannot be read, or is not as planned.
    """
    with preserved_generators(everything=is_own_code(plan.dataset)):
        raw = keep_classes(load_raw(plan, place, parts), plan.classes)
    if plan.num_classes not in (0, len(raw.classes)):
        raise TrainingError(
            f"data: was planned with {plan.num_classes} classes, {plan.dataset} has "
            f"{len(raw.classes)}; plan anew"
        )
    found, skipped = {}, []
    for name, part in raw.parts.items():
        check_labels(part, raw.classes, name)
        found[name], left_out = _open_part(part, plan, place)
        skipped += left_out
    return LoadedSet(raw.classes, found, tuple(skipped))


def load_raw(plan: DataPlan, place: Place, parts: tuple[str, ...]) -> RawSet:
    """The data set that a plan names, as it comes; arguments and errors are `load_set`'s."""
    if plan.dataset == "digits":
        return load_digits(parts, image_size=plan.image_size, channels=plan.channels)
    if plan.dataset == "synthetic":
        return load_synthetic(parts, plan.arguments, channels=plan.channels)
    if plan.dataset in SCANS:
        return load_files(plan, place.data_root, parts)
    if is_own_code(plan.dataset):
        return load_own(plan, place, parts)
    if plan.dataset in SETS:
        return load_torchvision(plan, place, parts)
    raise TrainingError(f"data.dataset: no data set {plan.dataset!r}")


def keep_classes(raw: RawSet, names: tuple[str, ...]) -> RawSet:
    """Only these classes, numbered in the order in which they are named; none named: all.

    Raises:
        TrainingError: A class is not there.
    """
    if not names:
        return raw
    numbers = torch.full((len(raw.classes),), -1)
    for number, name in enumerate(names):
        if name not in raw.classes:
            near = get_close_matches(name, raw.classes, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise TrainingError(f"data.classes: there is no class {name!r}{advice}")
        numbers[raw.classes.index(name)] = number
    parts = {}
    for part, images in raw.parts.items():
        chosen = images.select((numbers[images.labels] >= 0).nonzero().flatten())
        parts[part] = replace(chosen, labels=numbers[chosen.labels])
    return RawSet(names, parts)


def check_labels(part: RawPart, classes: tuple[str, ...], name: str) -> None:
    """Refuse a part without images, or with labels that no class has.

    Raises:
        TrainingError: Names the part.
    """
    if not len(part.labels):
        raise TrainingError(f"data: no image is left in the {name} part")
    low, high = int(part.labels.min()), int(part.labels.max())
    if low < 0 or high >= len(classes):
        raise TrainingError(
            f"data.dataset: the {name} part has labels from {low} to {high}; "
            f"needs 0 to {len(classes) - 1}, one for each of {len(classes)} classes"
        )


def _open_part(part: RawPart, plan: DataPlan, place: Place) -> tuple[ImageSet, list[str]]:
    if not isinstance(part.images, tuple):
        images = ImageSet(part.images, part.rows, part.labels, part.ids)
        return replace(images, sources=place.sources), []
    paths = [part.images[row] for row in part.rows.tolist()]
    opened = open_files(
        paths, channels=plan.channels, cache=place.cache, on_corrupt=plan.on_corrupt
    )
    images = ImageSet(opened.pixels, torch.arange(len(paths)), part.labels, part.ids)
    images = replace(images, sources=place.sources)
    if not opened.failures:
        return images, []
    readable = torch.ones(len(paths), dtype=torch.bool)
    readable[list(opened.failures)] = False
    return images.select(readable.nonzero().flatten()), [paths[row] for row in opened.failures]
