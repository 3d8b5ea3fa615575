"""Traces: a digest of every tensor of a training after every step, to find where two part."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from orchestrator.training.state import TrainingState

_DIGITS: Final = 16
Digests = Mapping[str, str]
"""Tensor to the beginning of the SHA-256 of its type, shape and bytes."""


class Trace:
    """Appends a line per step to a file; one that goes on appends to what is there.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def add(self, state: TrainingState, loss: Tensor) -> None:
        """Note everything that a step has changed."""
        tensors = {"loss": loss, **dict(_list_tensors(state.state_dict(), ""))}
        line = {name: _digest(tensor) for name, tensor in tensors.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Parting:
    """Where two traces part."""

    step: int
    """Counted from 1."""
    tensor: str


def read_trace(path: Path) -> list[Digests]:
    """The digests after each step."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def find_parting(first: list[Digests], second: list[Digests]) -> Parting | None:
    """The first step and tensor in which two traces differ; None where they are the same."""
    nothing: Digests = {}
    pairs = zip_longest(first, second, fillvalue=nothing)
    for step, (one, other) in enumerate(pairs, start=1):
        for name in {**one, **other}:
            if one.get(name) != other.get(name):
                return Parting(step, name)
    return None


def _list_tensors(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _list_tensors(item, f"{prefix}.{key}" if prefix else str(key))


def _digest(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}\n".encode())
    # As bytes: NumPy knows no bfloat16.
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]
