"""What layers of a network give on its way: hooks that keep a value before anybody changes it.

A ReLU that works in place writes into the very tensor that the layer before it has given; a
hook that only remembers that tensor would show the ReLU's result under the other layer's name.
So what is kept is a copy, or the mean that pooling makes, taken the moment the layer is done.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, Final

import torch
from torch import Tensor, nn

from orchestrator.errors import OrchestratorError, SpecError, TrainingError
from orchestrator.training.precision import Precision

_MOST_NAMED: Final = 12
_OPTION: Final = "--layers"

Hook = Callable[[nn.Module, Any, Any], None]


def check_layers(model: nn.Module, layers: Sequence[str]) -> None:
    """Refuse names that are no layers, or are there twice.

    Args:
        model: The network.
        layers: Names such as `layer4.1.conv2`, as `named_modules` has them.

    Raises:
        SpecError: Names the layers that are near, then some of all.
    """
    known = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    mistakes = []
    for position, layer in enumerate(layers):
        if layer in layers[:position]:
            mistakes.append(f"{_OPTION}: {layer!r} is there twice")
        elif layer not in known:
            near = get_close_matches(layer, known, n=3)
            advice = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
            mistakes.append(
                f"{_OPTION}: {type(model).__name__} has no layer {layer!r}{advice} "
                f"it has {_shorten(known)}"
            )
    if mistakes:
        raise SpecError(mistakes)


class LayerReader:
    """Reads what several layers give, in one pass.

    Args:
        model: The network, in evaluation mode.
        layers: Their names, checked.
        pool: Whether maps and tokens are averaged to one value per channel.
        precision: How the network computes.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[str], *, pool: bool, precision: Precision
    ) -> None:
        self._model = model
        self._layers = layers
        self._pool = pool
        self._precision = precision

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """One pass.

        Args:
            images: float32, shape (B, C, H, W), on the network's device.

        Returns:
            Layer to what it gave, float32, shape (B, ...), on that device; in the order in
            which the layers were asked for.

        Raises:
            SpecError: A layer is not passed, is passed several times, or gives something else
                than one tensor with a row per image.
            TrainingError: The network cannot take the images.
        """
        kept: dict[str, Tensor] = {}
        handles = [
            self._model.get_submodule(name).register_forward_hook(
                self._hook(name, kept, images)
            )
            for name in self._layers
        ]
        try:
            self._pass(images)
        finally:
            for handle in handles:
                handle.remove()
        missing = [name for name in self._layers if name not in kept]
        if missing:
            raise _refuse(missing[0], "is not passed when an image is classified")
        return {name: kept[name] for name in self._layers}

    def _pass(self, images: Tensor) -> None:
        # Its one operator for a whole encoder layer passes the layers within by.
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad(), self._precision.autocast():
                self._model(self._precision.lay_out(images))
        except OrchestratorError:
            raise
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"--batch-size: {len(images)} images at once do not fit into the memory of "
                f"{images.device}; try fewer"
            ) from error
        except Exception as error:
            # Networks refuse a size by whatever exception they like.
            text = " ".join(str(error).split())[:200]
            raise TrainingError(
                f"data.image_size: {type(self._model).__name__} cannot take images of shape "
                f"{tuple(images.shape[1:])} ({type(error).__name__}: {text})"
            ) from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    def _hook(self, name: str, kept: dict[str, Tensor], images: Tensor) -> Hook:
        def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401
            if name in kept:
                raise _refuse(name, "is passed several times for an image")
            if not isinstance(output, Tensor):
                raise _refuse(name, f"gives a {type(output).__name__}, not one tensor")
            if output.ndim == 0 or len(output) != len(images):
                shape = tuple(output.shape)
                raise _refuse(
                    name, f"gives no row per image (shape {shape} for {len(images)} images)"
                )
            kept[name] = pool_output(output, images) if self._pool else _copy(output)

        return keep


def pool_output(output: Tensor, images: Tensor) -> Tensor:
    """One value per channel: the mean over a map's positions, or over a transformer's tokens.

    Maps are (B, C, H, W), or (B, H, W, C) where a square image has given a square map that way
    (Swin). Tokens are (B, T, C), the class token among them.

    Args:
        output: What a layer gave, shape (B, ...).
        images: What the network was given, shape (B, C, H, W).

    Returns:
        A new tensor, float32, shape (B, C); of an output (B,) or (B, C), a copy.
    """
    if output.ndim <= 2:
        return _copy(output)
    if output.ndim == 3:
        return output.float().mean(dim=1)
    square = images.shape[-1] == images.shape[-2]
    channels_last = (
        output.ndim == 4 and square and output.shape[1] == output.shape[2] != output.shape[3]
    )
    axes = (1, 2) if channels_last else tuple(range(2, output.ndim))
    return output.float().mean(dim=axes)


def _copy(output: Tensor) -> Tensor:
    return output.to(torch.float32, copy=True)


def _refuse(name: str, text: str) -> SpecError:
    above = name.rpartition(".")[0]
    advice = f", such as {above!r}" if above else ""
    return SpecError(
        [f"{_OPTION}: {name!r} {text}; name a layer that gives one tensor, once{advice}"]
    )


def _shorten(names: Sequence[str]) -> str:
    """All of a few; of many the beginning and the end, where the head is."""
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    first, last = names[: _MOST_NAMED - 4], names[-4:]
    return f"{', '.join(first)}, … , {', '.join(last)} ({len(names)} layers)"
