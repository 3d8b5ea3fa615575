"""torchvision's trained weights, by name, kept in torch hub's folder of the node.

Workers of one node ask for them at the same time: the first fetches them, the others wait.
"""

import fcntl
import re
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from orchestrator.errors import InfeasibleError, TrainingError
from orchestrator.training.model.torchvision_models import import_torchvision
from orchestrator.training.model.weights_file import digest_file, list_names


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of trained weights, on this node."""

    path: Path
    is_new: bool
    """Whether it was fetched just now."""


def load_torchvision_weights(architecture: str, source: str) -> dict[str, Tensor]:
    """Trained weights on the CPU; fetched where this node does not have them yet.

    Args:
        architecture: Name of a torchvision network.
        source: `DEFAULT`, a name such as `IMAGENET1K_V1`, or one such as
            `ResNet18_Weights.IMAGENET1K_V1`.

    Raises:
        TrainingError: There are no such weights, or they can be neither found nor fetched.
    """
    weights = find_torchvision_weights(architecture, source)
    folder = hub_folder()
    file = folder / Path(weights.url).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tensors: dict[str, Tensor] = weights.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
    # Also what a half-written file gives, and a digest that is not the name's.
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        where = "cannot be read from" if file.exists() else "is missing in"
        raise TrainingError(
            f"model.weights: {file.name} {where} {folder} and cannot be fetched "
            f"({type(error).__name__}: {error}); where there is a network, run "
            "'orchestrator fetch SPEC', or copy the file there"
        ) from error
    return tensors


def fetch_torchvision_weights(architecture: str, source: str) -> WeightsFile:
    """Make sure that this node has the weights, whole; arguments as for loading them.

    Raises:
        TrainingError: There are no such weights.
        InfeasibleError: They cannot be fetched, or what is there is damaged; says where from
            and where to.
    """
    url = find_torchvision_weights(architecture, source).url
    path = hub_folder() / Path(url).name
    was_there = path.exists()
    try:
        load_torchvision_weights(architecture, source)
    except TrainingError as error:
        if was_there:
            raise _refuse_damaged(path, str(error.__cause__)) from error
        cause = error.__cause__
        raise InfeasibleError(
            f"model.weights: cannot fetch {url} ({type(cause).__name__}: {cause}); get it "
            f"where there is a network, and put it into {path.parent}"
        ) from error
    # torch looks at the digest of what it fetches alone, not of what somebody has put there.
    named = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if named and not digest_file(path).startswith(named[1]):
        raise _refuse_damaged(path, f"its SHA-256 does not begin with {named[1]}")
    return WeightsFile(path=path, is_new=not was_there)


def hub_folder() -> Path:
    """Where torch hub keeps fetched files; the variable TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_torchvision_weights(architecture: str, source: str) -> Any:  # noqa: ANN401  their enum
    """Where the trained weights of a name come from, as torchvision tells it.

    Raises:
        TrainingError: There are no such weights; names those that there are.
    """
    models = import_torchvision(architecture)
    if architecture not in models.list_models(module=models):
        raise TrainingError(
            f"model.weights: there is no file {source!r}, and torchvision has no weights for "
            f"{architecture}; give the path of a .safetensors or .pth file, or run:RUN"
        )
    known = models.get_model_weights(architecture)
    kind, _, name = source.rpartition(".")
    if (kind and kind != known.__name__) or name not in known.__members__:
        members = list_names(dict(known.__members__), most=10)
        raise TrainingError(
            f"model.weights: torchvision has no {source!r} for {architecture}; it has {members}"
        )
    return known[name]


def _refuse_damaged(path: Path, reason: str) -> InfeasibleError:
    return InfeasibleError(
        f"model.weights: {path} is damaged ({reason}); delete it, fetch anew"
    )
