"""Networks on the meta device: shapes without memory, and without drawing a weight.

`torch.device("meta")` as a context would also move what a builder computes with, such as the
widths of RegNet's stages, and fail where it reads them. So only the functions that parameters
and buffers are made with are moved, and the rest of the network at the end.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FACTORIES: Final = frozenset({torch.empty, torch.zeros, torch.ones})


class _WithoutMemory(TorchFunctionMode):
    """Makes new tensors on the meta device where no device is named."""

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401  any function of torch
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        arguments = dict(kwargs or {})
        if func in _FACTORIES and arguments.get("device") is None:
            arguments["device"] = "meta"
        return func(*args, **arguments)


@contextmanager
def without_memory() -> Iterator[None]:
    """Layers made within have parameters and buffers on the meta device.

    Nothing is drawn from the global generators. Other tensors stay where they would be; move
    the finished network with `model.to("meta")`.
    """
    with _WithoutMemory():
        yield


def copy_to_meta(model: nn.Module) -> nn.Module:
    """The same network on the meta device; the given one keeps its tensors.

    Shared parameters stay shared, and the weights are at no time copied.
    """
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(
            torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad
        )
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    # What is already in the memo is taken for copied.
    return copy.deepcopy(model, memo)


def meta_images(channels: int, image_size: int, *, count: int = 2) -> Tensor:
    """A batch without pixels, float32, shape (count, channels, image_size, image_size)."""
    return torch.empty(count, channels, image_size, image_size, device="meta")
