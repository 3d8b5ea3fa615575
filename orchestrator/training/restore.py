"""A recorded run as a network again, exactly as it was scored.

Nothing of it trusts the process that it happens in: the run's own code comes from the folder
that travelled with its search, whatever has been imported under the same names since, and the
classes that the weights were trained for must be the classes of the data.
"""

import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from orchestrator.errors import RecordError, TrainingError
from orchestrator.planning.run_plan import Place, RunPlan
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.build import RunData, build_data
from orchestrator.training.data.folders import SCANS
from orchestrator.training.data.loading import load_raw
from orchestrator.training.model.architectures import build_architecture, check_architecture
from orchestrator.training.model.interface import Interface
from orchestrator.training.model.weights import CLASSES_FILE
from orchestrator.training.model.weights_file import list_names, read_tensors
from orchestrator.training.outputs import BEST, LAST
from orchestrator.training.precision import Precision


@dataclass(frozen=True, kw_only=True)
class RestoredRun:
    """A network as it was scored."""

    model: nn.Module
    """On the device, in evaluation mode."""
    classes: tuple[str, ...]
    """What its outputs mean."""
    weights: Path
    precision: Precision


def restore_run(plan: RunPlan, device: torch.device) -> RestoredRun:
    """Build a run's network and give it the weights that count.

    Args:
        plan: What was trained; its place says where its folder and its code are now.
        device: Where the network shall live.

    Raises:
        RecordError: The run has left no weights, or they are not of this network.
        TrainingError: The network cannot be built.
    """
    numbers, folder = plan.numbers, Path(plan.place.folder)
    path = folder / (BEST if plan.select == "best" else LAST)
    if folder.is_symlink() and not folder.exists():
        raise RecordError(
            f"{plan.run_id} was taken over from {folder.readlink()}, which is gone; run its "
            "experiment again"
        )
    if not path.is_file():
        raise RecordError(
            f"{plan.run_id} has left no weights ({path} is not there); "
            "a run leaves them when it has finished"
        )
    classes = _read_classes(folder / CLASSES_FILE)
    interface = Interface(
        channels=numbers.data.channels,
        image_size=numbers.data.image_size,
        num_classes=len(classes),
    )
    with torch.random.fork_rng(devices=[]):
        check_architecture(numbers.model, interface, plan.place)
        model = build_architecture(numbers.model, interface, plan.place)
    _load(model, read_tensors(path, key=plan.run_id), path)
    model = model.to(device)
    if numbers.model.channels_last:
        model = model.to(memory_format=torch.channels_last)
    precision = Precision.of(
        numbers.training.precision, device, channels_last=numbers.model.channels_last
    )
    return RestoredRun(model=model.eval(), classes=classes, weights=path, precision=precision)


def open_parts(data: DataPlan, place: Place, *, seed: int, parts: tuple[str, ...]) -> RunData:
    """The images of these parts; `build_data` that says how to come by a test part.

    Raises:
        TrainingError: As `build_data`, or there is no test part.
    """
    may_lack = "test" in parts and data.dataset in SCANS and not data.test_share
    # Labels alone: no image is opened for it.
    if may_lack and not len(load_raw(data, place, ("test",)).parts["test"].labels):
        raise TrainingError(
            f"data.test_share: {data.dataset} has no test part (got 0); data.test_share=0.1 "
            "sets one aside, for a run before it is trained"
        )
    return build_data(data, place, seed=seed, parts=parts)


def check_classes(restored: RestoredRun, classes: Sequence[str], *, run_id: str) -> None:
    """Refuse data whose classes are not those that a network's outputs mean.

    Raises:
        RecordError: Names the first index at which they differ.
    """
    pairs = zip_longest(restored.classes, classes)
    for index, (there, here) in enumerate(pairs):
        if there != here:
            trained, found = (
                "no class" if name is None else repr(name) for name in (there, here)
            )
            raise RecordError(
                f"{run_id}: index {index} is {trained} in its {CLASSES_FILE} and {found} in "
                "the data; score it on the data that it was trained on"
            )


@contextmanager
def importing_from(sources: str) -> Iterator[None]:
    """Let the user's own modules come from this folder, whatever was imported before.

    A module of the same name may be another version of it: the file that the user has edited
    since, or another experiment's. What was imported before is put back at the end.

    Args:
        sources: The folder; empty for no code.

    Raises:
        RecordError: The folder is gone.
    """
    if not sources:
        yield
        return
    if not Path(sources).is_dir():
        raise RecordError(f"{sources} is gone, which held the run's own code")
    names = {path.stem for path in Path(sources).iterdir()}
    before = _take_out(names)
    path_before, quiet_before = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, sources)
    # A record is left as it is.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _take_out(names)
        sys.modules.update(before)
        sys.path[:] = path_before
        sys.dont_write_bytecode = quiet_before


def choose_device(*, wanted: str = "cuda") -> torch.device:
    """The first GPU where there is one and it is wanted, else the CPU."""
    if wanted == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("cpu")


def _take_out(names: set[str]) -> dict[str, ModuleType]:
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(sorted(index, key=index.__getitem__))
        is_whole = bool(names) and [index[name] for name in names] == list(range(len(names)))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RecordError(
            f"{path} does not say what the network's outputs mean ({error})"
        ) from error
    if not is_whole:
        raise RecordError(f"{path} does not say what the network's outputs mean: {index}")
    return names


def _load(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = {
        name: value.shape
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    found = {name: value.shape for name, value in tensors.items()}
    wrong = [name for name in {**own, **found} if own.get(name) != found.get(name)]
    if wrong:
        raise RecordError(
            f"{path} does not hold the network of its plan ({list_names(tuple(wrong), 3)} "
            "differ); was the code changed since?"
        )
    model.load_state_dict(dict(tensors), strict=False)
