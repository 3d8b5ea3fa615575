"""A data set of the user's own: `module:callable`, which returns map-style data sets.

What comes from outside is looked at here, once per image, so that a wrong shape or label is
named with its place rather than met as a crash somewhere in a network.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.images import image_to_tensor
from orchestrator.training.data.raw_set import RawPart, RawSet, raw_part
from orchestrator.training.own_code import load_callable


class MapDataset(Protocol):
    """What torch calls a map-style data set: items are (image, label)."""

    def __len__(self) -> int:
        """Number of items."""
        ...

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401  looked at when it has come
        """An image and its label."""
        ...


@dataclass(frozen=True, eq=False)
class DatasetPixels:
    """Images of a map-style data set, converted and checked as they are read."""

    dataset: MapDataset
    labels: Tensor
    """int64, shape (N,): what was found, or declared, when the data set was opened."""
    channels: int
    name: str
    """What messages call the data set."""
    draws = True

    def __len__(self) -> int:
        """Number of items."""
        return len(self.labels)

    @property
    def whole(self) -> None:
        """None: items are asked for one by one."""
        return

    def read(self, row: int) -> Tensor:
        """One image, uint8, shape (C, H, W).

        Raises:
            TrainingError: The item is no image with the label that it had; says what it is.
        """
        image, label = read_item(self.dataset, row, name=self.name)
        if label != int(self.labels[row]):
            raise TrainingError(
                f"data.dataset: {self.describe(row)} has the label {label}, "
                f"its `targets` say {int(self.labels[row])}"
            )
        try:
            return image_to_tensor(image, channels=self.channels)
        except ValueError as error:
            raise TrainingError(f"data.dataset: {self.describe(row)} is {error}") from error

    def describe(self, row: int) -> str:
        """The data set's name and the item's number."""
        return f"{self.name}[{row}]"


def load_own(
    plan: DataPlan, place: Place, parts: Sequence[str], *, optional: Sequence[str] = ()
) -> RawSet:
    """Call the user's code and look at what comes.

    It returns an object or a mapping with `train`, `val` and perhaps `test`, and perhaps
    `classes`, the names of the classes. It is given `data.arguments`, and `root` where there is
    a `data.root`. Labels are taken from a part's `targets` where it has them,
    as torchvision's data sets do; if not, every item is read once.

    Args:
        plan: Key `data`, decided.
        place: Where the data and the user's modules are.
        parts: Parts that are wanted.
        optional: Parts that are wanted where there are such.

    Raises:
        TrainingError: The code fails, or returns something else; says what and what is needed.
    """
    make = load_callable(plan.dataset, key="data.dataset", sources=place.sources)
    arguments = dict(plan.arguments)
    if place.data_root:
        _check_root(make, plan)
        arguments["root"] = place.data_root
    try:
        made = make(**arguments)
    except Exception as error:
        raise _refuse(plan.dataset, f"fails ({_say(error)})") from error
    found: dict[str, RawPart] = {}
    first = 0
    for part in ("train", "val", "test"):
        dataset = _find_part(made, part)
        if dataset is None:
            if part in parts:
                raise _refuse(plan.dataset, f"returns no {part!r} ({type(made).__name__})")
            continue
        if part in (*parts, *optional):
            name = f"{plan.dataset} {part}"
            labels = read_labels(dataset, name=name)
            pixels = DatasetPixels(dataset, labels, plan.channels, name)
            pixels.read(0)
            found[part] = raw_part(pixels, labels, first_id=first)
        first += len(dataset)
    return RawSet(_find_classes(made) or _number_classes(found, plan), found)


def read_labels(dataset: MapDataset, *, name: str) -> Tensor:
    """The labels of a map-style data set, int64, shape (N,).

    Raises:
        TrainingError: It is empty, or a label is no whole number from 0.
    """
    if len(dataset) == 0:
        raise _refuse(name, "is empty")
    declared = _declared_labels(dataset)
    values = (
        [read_item(dataset, row, name=name)[1] for row in range(len(dataset))]
        if declared is None
        else [_whole_number(label, f"{name}[{row}]") for row, label in enumerate(declared)]
    )
    return torch.tensor(values, dtype=torch.int64)


def read_item(dataset: MapDataset, row: int, *, name: str) -> tuple[Any, int]:
    """One image, whatever it is, and its label.

    Raises:
        TrainingError: The code fails, or the item is no pair of image and class index.
    """
    try:
        item = dataset[row]
    except Exception as error:
        raise _refuse(f"{name}[{row}]", f"fails ({_say(error)})") from error
    if not isinstance(item, Sequence) or len(item) != 2:
        what = f"{len(item)} values" if isinstance(item, Sequence) else type(item).__name__
        raise _refuse(f"{name}[{row}]", f"is no pair of image and label ({what})")
    return item[0], _whole_number(item[1], f"{name}[{row}]")


def _whole_number(label: Any, where: str) -> int:  # noqa: ANN401
    if isinstance(label, Tensor | np.ndarray | np.generic):
        if math.prod(label.shape) != 1:
            shape = tuple(label.shape)
            raise _refuse(
                where,
                f"has a vector of labels, of shape {shape}; needs one class index: images of "
                "several classes at once are not supported",
            )
        label = label.item()
    if isinstance(label, list | tuple):
        raise _refuse(
            where,
            f"has {len(label)} labels; needs one class index: images of several classes at "
            "once are not supported",
        )
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise _refuse(where, f"has the label {label!r}; needs a whole number from 0")
    return label


def _declared_labels(dataset: MapDataset) -> Sequence[Any] | None:
    if isinstance(dataset, Subset):
        whole = _declared_labels(cast(MapDataset, dataset.dataset))
        return None if whole is None else [whole[index] for index in dataset.indices]
    targets = getattr(dataset, "targets", None)
    if isinstance(targets, Tensor | np.ndarray):
        targets = targets.tolist()
    if not isinstance(targets, Sequence) or len(targets) != len(dataset):
        return None
    return targets


def _find_part(made: Any, part: str) -> MapDataset | None:  # noqa: ANN401
    dataset = made.get(part) if isinstance(made, Mapping) else getattr(made, part, None)
    if dataset is None:
        return None
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TrainingError(
            f"data.dataset: {part!r} is a {type(dataset).__name__}; needs a map-style data "
            "set, with a length and items by number"
        )
    found: MapDataset = dataset
    return found


def _find_classes(made: Any) -> tuple[str, ...]:  # noqa: ANN401
    classes = (
        made.get("classes") if isinstance(made, Mapping) else getattr(made, "classes", None)
    )
    names = () if classes is None else tuple(map(str, classes))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise _refuse("the data set", f"has the class {twice[0]!r} twice; names must differ")
    return names


def _number_classes(parts: Mapping[str, RawPart], plan: DataPlan) -> tuple[str, ...]:
    """Numbers in place of names, up to the highest label."""
    highest = max(int(part.labels.max()) for part in parts.values())
    if not {"train", "val"} <= parts.keys():
        # A part that is looked at alone may lack the last of the classes planned with.
        kept = [int(name) for name in plan.classes if name.isdecimal()]
        highest = max([highest, *(kept or range(plan.num_classes))])
    return tuple(map(str, range(highest + 1)))


def _check_root(make: Any, plan: DataPlan) -> None:  # noqa: ANN401
    """Refuse a `data.root` that would be passed over in silence."""
    if "root" in plan.arguments:
        raise TrainingError("data.root: data.arguments has a root too; leave one of them out")
    try:
        parameters = inspect.signature(make).parameters
    except ValueError:  # Written in C: Python says it when it is called.
        return
    if "root" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    raise TrainingError(
        f"data.root: {plan.dataset} takes no argument root; leave it out, or let it take one"
    )


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _refuse(name: str, text: str) -> TrainingError:
    return TrainingError(f"data.dataset: {name} {text}")
