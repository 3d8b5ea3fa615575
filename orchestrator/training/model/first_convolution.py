"""Networks made for colour images, fed with another number of channels.

The first convolution is exchanged while the network is built, before its initialisation runs
over all layers: so it is initialised as its family does it, whichever that is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

RGB = 3


def find_first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Name and layer of the first convolution in the order of registration, if there is one."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            return name, layer
    return None


@contextmanager
def first_convolution_takes(channels: int) -> Iterator[None]:
    """The first convolution of three channels that is built within has `channels` instead."""
    if channels == RGB:
        yield
        return
    exchanged = False

    def exchange(_parent: nn.Module, _name: str, layer: nn.Module) -> nn.Module | None:
        nonlocal exchanged
        if exchanged or not isinstance(layer, nn.Conv2d) or layer.in_channels != RGB:
            return None
        exchanged = True
        return _with_channels(layer, channels)

    # torch's annotation of the hook has no result; its text and its code have one.
    handle = register_module_module_registration_hook(exchange)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


def adapt_rgb_weight(weight: Tensor, channels: int) -> Tensor:
    """Weights of a convolution over RGB, for images of another number of channels.

    One channel gets the sum over RGB, so that a grey image gives what it gives as an RGB image.
    Several get the RGB weights over and over, scaled by 3/n, so that the sum over channels
    keeps its size.

    Args:
        weight: Shape (out, 3, h, w).
        channels: Channels of the images.

    Returns:
        Shape (out, channels, h, w).
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = -(-channels // RGB)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (RGB / channels)


def _with_channels(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    shape: dict[str, Any] = {
        name: getattr(layer, name)
        for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    }
    return nn.Conv2d(
        channels,
        layer.out_channels,
        bias=layer.bias is not None,
        device=layer.weight.device,
        **shape,
    )
