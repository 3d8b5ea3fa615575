"""torchvision's trained weights, by name, kept in torch hub's folder of the node.

Workers of one node ask for them at the same time: the first fetches them, the others wait.
"""

import fcntl
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.training.model.torchvision_models import import_torchvision
from orchestrator.training.model.weights_file import list_names


def load_torchvision_weights(architecture: str, source: str) -> dict[str, Tensor]:
    """Trained weights on the CPU; fetched where this node does not have them yet.

    Args:
        architecture: Name of a torchvision network.
        source: `DEFAULT`, a name such as `IMAGENET1K_V1`, or one such as
            `ResNet18_Weights.IMAGENET1K_V1`.

    Raises:
        TrainingError: There are no such weights, or they can be neither found nor fetched.
    """
    weights = _find_weights(architecture, source)
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


def hub_folder() -> Path:
    """Where torch hub keeps fetched files; the variable TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _find_weights(architecture: str, source: str) -> Any:  # noqa: ANN401  torchvision's enum
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
