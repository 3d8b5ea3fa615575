"""Opens and fetches torchvision's data sets, part by part.

A validation part is cut from the training part where there is none, each class in proportion,
the same for every seed; so is a test part, where a share for it is asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.cache import locked
from orchestrator.training.data.raw_set import RawPart, RawSet, cut_part, raw_part
from orchestrator.training.data.torchvision_sets import SETS, TorchvisionSet


def load_torchvision(plan: DataPlan, place: Place, parts: Sequence[str]) -> RawSet:
    """One of torchvision's data sets.

    Args:
        plan: Key `data`, decided.
        place: Where the data is, and whether it may be fetched.
        parts: Parts that are wanted.

    Raises:
        TrainingError: torchvision is missing, or the files are not there.
    """
    kind = SETS[plan.dataset]
    # What the set lacks is cut from its training part.
    wanted = {part if part in kind.parts else "train" for part in parts}
    found: dict[str, RawPart] = {}
    classes: tuple[str, ...] = ()
    for part in wanted:
        made = _open(kind, plan.dataset, place, part)
        images, labels = kind.find(made, plan.channels)
        found[part] = raw_part(images, list(map(int, labels)), first_id=_first_id(part))
        classes = _class_names(made, found[part].labels)
    if "train" in found:
        shares = {
            f"{part}_share": 0.0 if part in kind.parts else getattr(plan, f"{part}_share")
            for part in ("val", "test")
        }
        cut = cut_part(found["train"], **shares)
        found |= {part: cut[part] for part in cut if part == "train" or part not in kind.parts}
    for part in parts:
        if not len(found[part].labels):
            raise TrainingError(
                f"data.{part}_share: {plan.dataset} has no {part} part; set a share for it"
            )
    return RawSet(classes, {part: found[part] for part in parts})


def _first_id(part: str) -> int:
    # Numbers of the parts must not meet, whichever of them are loaded.
    return ("train", "val", "test").index(part) * 10_000_000


def fetch_torchvision(dataset: str, root: str) -> None:
    """Fetch every part of a data set that is not in its folder yet.

    Raises:
        TrainingError: It cannot be fetched; names the address.
    """
    place = Place(folder="", loader_workers=0, data_root=root, download=True)
    for part in SETS[dataset].parts:
        _open(SETS[dataset], dataset, place, part)


def _open(kind: TorchvisionSet, dataset: str, place: Place, part: str) -> Any:  # noqa: ANN401
    try:
        from torchvision import datasets
    except ImportError as error:
        raise TrainingError(
            f"data.dataset: {dataset} needs torchvision, which cannot be imported "
            f"({error}); install the extra 'vision'"
        ) from error
    arguments = {**kind.parts[part], "root": place.data_root}
    if kind.by_path:
        arguments["loader"] = _keep_path
    make = getattr(datasets, kind.name)
    fetches = place.download and kind.download
    try:
        if fetches:
            Path(place.data_root).mkdir(parents=True, exist_ok=True)
            # The workers of a node all come here at once.
            with locked(Path(place.data_root) / f".{dataset}.lock"):
                make(**arguments, download=True)
        return make(**arguments)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise _refuse(kind, f"{dataset} ({part})", place, text, _find_url(error)) from error


def _refuse(
    kind: TorchvisionSet, what: str, place: Place, text: str, url: str
) -> TrainingError:
    root = place.data_root
    if place.download and kind.download:
        source = f" from {url}" if url else ""
        return TrainingError(
            f"data.download: {what} cannot be fetched{source} to {root} ({text}); run "
            f"'orchestrator fetch SPEC' where there is a network, and copy it here"
        )
    advice = "set data.download: true"
    if not kind.download:
        advice = f"torchvision cannot fetch it: put it into {root}, as torchvision's page says"
    return TrainingError(f"data.root: {what} is not in {root} ({text}); {advice}")


def _find_url(error: BaseException) -> str:
    """The address that was asked for when it failed: each set keeps its own in another way."""
    found, trace = "", error.__traceback__
    while trace is not None:
        url = trace.tb_frame.f_locals.get("url")
        found = url if isinstance(url, str) else found
        trace = trace.tb_next
    return found


def _keep_path(path: Any) -> str:  # noqa: ANN401
    return str(path)


def _class_names(made: Any, labels: Tensor) -> tuple[str, ...]:  # noqa: ANN401
    names = getattr(made, "classes", None) or getattr(made, "categories", None)
    if names is None:
        return tuple(map(str, range(int(labels.max()) + 1)))
    # ImageNet's classes have several names each, of which the first may be another one's too.
    return tuple(name if isinstance(name, str) else ", ".join(name) for name in names)
