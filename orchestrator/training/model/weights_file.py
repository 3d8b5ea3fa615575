"""Files of weights: tensors by name, and never code.

safetensors holds nothing else; files of pickled tensors are read by torch's reader that refuses
everything else.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.training.whole_file import whole_file

_CONTAINERS: Final = ("state_dict", "model", "model_state_dict", "model_ema")
"""Keys that training scripts keep a network's tensors under, the first that is there counts."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
"""What torch puts into messages for a terminal."""

_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
"""What DDP, torch.compile and common wrappers put before every name."""


def read_tensors(
    path: Path, *, sha256: str = "", key: str = "model.weights"
) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, `.pth`, `.pt` or `.bin` file, on the CPU.

    Args:
        path: The file.
        sha256: Digest that the file must have; empty for any.
        key: The YAML key that names the file, for messages.

    Raises:
        TrainingError: There is no such file, it has changed, holds code or no tensors.
    """
    if not path.is_file():
        raise TrainingError(f"{key}: there is no file {path}")
    check_digest(path, sha256, key=key)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, key=key)
    if path.suffix in {".pth", ".pt", ".bin"}:
        return _read_pickled(path, key=key)
    raise TrainingError(
        f"{key}: {path} is neither .safetensors nor .pth or .pt; save the network's "
        "state_dict()"
    )


def read_tensor(path: Path, name: str, *, sha256: str, key: str) -> Tensor:
    """One tensor of a safetensors file; arguments and errors as for `read_tensors`."""
    tensors = read_tensors(path, sha256=sha256, key=key)
    if name not in tensors:
        raise TrainingError(f"{key}: {path} has no {name!r}; it has {list_names(tensors)}")
    return tensors[name]


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path, sha256: str, *, key: str) -> None:
    """Refuse a file that is not the one that was planned with; an empty digest allows any."""
    if not sha256:
        return
    found = digest_file(path)
    if found != sha256:
        raise TrainingError(
            f"{key}: {path} is not the file that the plan was made with "
            f"(sha256 {found[:12]}…, planned {sha256[:12]}…); plan again, or put it back"
        )


def write_weights(weights: Mapping[str, Any], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network's parameters and buffers as safetensors, whole or not at all.

    Tensors that share memory are each written, so that every reader finds every name; they are
    written as they are on the CPU, in rows, whatever the device and the memory format.

    Args:
        weights: What the network's `state_dict` gives, on any device.
        path: The file.
        metadata: Text kept in the file's header.

    Raises:
        TrainingError: safetensors is not installed, or the disk is full or gone.
    """
    safetensors = _import_safetensors(key="model.weights")
    failed = import_module("safetensors").SafetensorError
    tensors = dict(_separate(weights))
    with whole_file(path, key="weights", synced=True) as unfinished:
        try:
            safetensors.save_file(tensors, str(unfinished.path), metadata=dict(metadata))
        except failed as error:
            raise OSError(f"{error}") from error


def strip_prefixes(tensors: Mapping[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """The tensors under the names that match a network's best.

    Args:
        tensors: As they were read.
        names: The network's own names.

    Returns:
        The tensors, without the prefixes that stood in the way; as they were on a tie.
    """
    candidates = list(_stripped(dict(tensors), depth=len(_PREFIXES)))
    return max(candidates, key=lambda candidate: len(names & candidate.keys()))


def list_names(names: Mapping[str, object] | set[str] | tuple[str, ...], most: int = 5) -> str:
    """The first few names, quoted, for a message."""
    quoted = [repr(name) for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more if quoted else "nothing"


def _stripped(tensors: dict[str, Tensor], depth: int) -> Iterator[dict[str, Tensor]]:
    yield tensors
    for prefix in _PREFIXES:
        if depth and any(name.startswith(prefix) for name in tensors):
            shorter = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            yield from _stripped(shorter, depth - 1)


def _separate(tensors: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Dense copies of what is no tensor of its own, which safetensors refuses."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            continue
        dense = tensor.detach().cpu().contiguous()
        memory = dense.untyped_storage().data_ptr()
        yield name, dense.clone() if memory in seen else dense
        seen.add(memory)


def _read_safetensors(path: Path, *, key: str) -> dict[str, Tensor]:
    safetensors = _import_safetensors(key=key)
    try:
        tensors: dict[str, Tensor] = safetensors.load_file(str(path), device="cpu")
    except Exception as error:
        raise TrainingError(f"{key}: {path} is no safetensors file ({error})") from error
    return tensors


def _read_pickled(path: Path, *, key: str) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = _COLOURS.sub("", str(error).splitlines()[0]).rstrip(".")
        raise TrainingError(
            f"{key}: {path} holds more than tensors, and code in a file is not run ({reason}); "
            "save the network's state_dict() alone"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise TrainingError(
            f"{key}: {path} cannot be read ({type(error).__name__}: {error}); copy it anew"
        ) from error
    for container in _CONTAINERS:
        if isinstance(found, Mapping) and isinstance(found.get(container), Mapping):
            found = found[container]
            break
    entries = found if isinstance(found, Mapping) else {}
    tensors = {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        what = list_names(entries) if entries else f"a {type(found).__name__}"
        raise TrainingError(
            f"{key}: {path} holds no tensors by name (it holds {what}); save the network's "
            "state_dict()"
        )
    return tensors


def _import_safetensors(*, key: str) -> Any:  # noqa: ANN401  a module without annotations
    try:
        return import_module("safetensors.torch")
    except ImportError as error:
        raise TrainingError(
            f"{key}: files of weights need safetensors ({error}); pip install safetensors"
        ) from error
