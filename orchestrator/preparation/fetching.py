"""Verb `fetch`: what an experiment takes from the internet, brought here before it runs.

Compute nodes often have no way out; the machine that they share a disk with often has one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InfeasibleError, SpecError, TrainingError
from orchestrator.planning.settings import enumerate_settings
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.specs.model_section import is_torchvision_weights
from orchestrator.specs.names import TORCHVISION_DATA_SETS


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Something that is on this machine now."""

    what: str
    """`weights of resnet18, DEFAULT` or `data set cifar10`."""
    path: Path
    """A file, or the folder that `data.root` names."""
    size: int
    """Bytes: of the file, or of all files in the folder."""
    is_new: bool | None
    """Whether it was fetched just now; None where that cannot be told."""


Watch = Callable[[str], None]
"""Told what is being fetched, before it is."""


def fetch(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    watch: Watch | None = None,
) -> list[Fetched]:
    """Fetch torchvision's weights of every network searched, and the data set if it may be.

    Args:
        source: Path of an experiment file, or a map of the same form.
        overrides: `key.sub=value`, the value as YAML.
        watch: Told what comes next; nobody by default.

    Returns:
        What lies where; nothing where the experiment takes nothing from the internet.

    Raises:
        SpecError: The spec has mistakes, or there are no such weights.
        InfeasibleError: Something cannot be fetched; says where from and where to.
    """
    spec = load_spec(source, overrides)
    found = []
    for architecture, weights in list_weights(spec):
        if watch is not None:
            watch(f"weights of {architecture}, {weights}")
        found.append(_fetch_weights(spec, architecture, weights))
    data = spec.keys.data
    if data.download and data.root:
        if watch is not None:
            watch(f"data set {data.dataset}")
        found.append(_fetch_data(data.dataset, data.root))
    return found


def list_weights(spec: ExperimentSpec) -> list[tuple[str, str]]:
    """Architecture and torchvision's name of its weights, for every setting, each once."""
    pairs: dict[tuple[str, str], None] = {}
    for setting in enumerate_settings(spec):
        architecture = setting.get("model.architecture", spec.keys.model.architecture)
        weights = setting.get("model.weights", spec.keys.model.weights)
        if isinstance(weights, str) and is_torchvision_weights(weights):
            pairs[str(architecture), weights] = None
    return list(pairs)


def is_left_out(spec: ExperimentSpec) -> bool:
    """Whether the data set is one of torchvision's, and is not asked to be fetched."""
    data = spec.keys.data
    return data.dataset in TORCHVISION_DATA_SETS and not data.download


def _fetch_weights(spec: ExperimentSpec, architecture: str, weights: str) -> Fetched:
    from orchestrator.training.model.torchvision_weights import fetch_torchvision_weights

    try:
        file = fetch_torchvision_weights(architecture, weights)
    except TrainingError as error:
        key = str(error).partition(":")[0]
        raise SpecError([f"{spec.place_of(key)}: {error}"]) from error
    return Fetched(
        what=f"weights of {architecture}, {weights}",
        path=file.path,
        size=file.path.stat().st_size,
        is_new=file.is_new,
    )


def _fetch_data(dataset: str, root: str) -> Fetched:
    from orchestrator.training.data.torchvision_loading import fetch_torchvision

    try:
        fetch_torchvision(dataset, root)
    except TrainingError as error:
        raise InfeasibleError(str(error)) from error
    files = [path for path in Path(root).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return Fetched(what=f"data set {dataset}", path=Path(root), size=size, is_new=None)
