"""The one place where images of any kind become uint8 tensors (C, H, W).

What an image says and how it says it are kept apart here: range, layout, colour model, depth
and transparency end at this border, and nothing behind it asks again. Conversions are Pillow's
to the bit (ITU-R 601 for grey), so that it does not matter who decoded a file.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

# Fixed-point ITU-R 601 luma, as Pillow's convert("L") has it: 16 bits after the point.
_LUMA = (19595, 38470, 7471)


def image_to_tensor(image: Any, *, channels: int) -> Tensor:  # noqa: ANN401  whatever came
    """An image as a uint8 tensor with as many channels as asked for.

    Floats are taken to lie in [0, 1]. Transparency is laid on white. Grey is repeated for
    colour, colour weighted to grey; other numbers of channels must already be right.

    Args:
        image: A PIL image; a tensor, uint8 or float, (C, H, W) or (H, W); a NumPy array, uint8
            or float, (H, W, C) or (H, W).
        channels: Channels wanted.

    Returns:
        uint8, shape (channels, H, W); it may share memory with what was given.

    Raises:
        ValueError: It is none of these; says what it is and what is needed.
    """
    if isinstance(image, Tensor):
        pixels = image
    elif isinstance(image, np.ndarray):
        pixels = _array_to_tensor(image)
    else:
        pixels = _pil_to_tensor(image)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"an image of shape {tuple(image.shape)}; needs (C, H, W) or (H, W)")
    return fit_channels(_to_uint8(pixels), channels)


def fit_channels(pixels: Tensor, channels: int) -> Tensor:
    """Grey repeated for colour, colour weighted to grey; uint8, shape (C, H, W).

    Raises:
        ValueError: The channels are neither as asked for nor 1, 3 or (with transparency) 2, 4.
    """
    if len(pixels) == channels:
        return pixels
    if len(pixels) in (2, 4) and channels in (1, 3):
        pixels = _on_white(pixels)
    if len(pixels) == channels:
        return pixels
    if len(pixels) == 1:
        return pixels.expand(channels, -1, -1)
    if len(pixels) == 3 and channels == 1:
        luma = torch.full(pixels.shape[1:], 1 << 15, dtype=torch.int32)
        for weight, plane in zip(_LUMA, pixels, strict=True):
            luma += weight * plane.int()
        return (luma >> 16).to(torch.uint8)[None]
    raise ValueError(f"an image of {len(pixels)} channels; needs {channels}")


def tensor_to_pil(pixels: Tensor) -> Any:  # noqa: ANN401  PIL is imported where it is needed
    """A PIL image, mode L or RGB, of uint8 pixels (1, H, W) or (3, H, W)."""
    from PIL import Image

    layers = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(layers[:, :, 0] if len(pixels) == 1 else layers)


def pil_to_tensor(image: Any) -> Tensor:  # noqa: ANN401
    """The way back from `tensor_to_pil`, mode still L or RGB; uint8, shape (C, H, W)."""
    layers = torch.from_numpy(np.array(image))
    return layers[None] if layers.ndim == 2 else layers.permute(2, 0, 1)


def _on_white(pixels: Tensor) -> Tensor:
    """Colour (or grey) and alpha, laid on white: c*a + 255*(1-a), rounded."""
    colour, alpha = pixels[:-1].int(), pixels[-1:].int()
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def _to_uint8(pixels: Tensor) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels
    if pixels.dtype == torch.bool:
        return pixels.to(torch.uint8) * 255
    if not pixels.is_floating_point():
        raise ValueError(f"an image of {pixels.dtype}; needs uint8, or float in [0, 1]")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"a float image in [{low:g}, {high:g}]; needs [0, 1], or uint8")
    return (pixels * 255).round_().to(torch.uint8)


def _array_to_tensor(array: np.ndarray) -> Tensor:
    if array.dtype == np.uint16:
        array = _halve_depth(array)
    # Copied where it may not be written to or runs backwards, which torch cannot share.
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        pixels = torch.from_numpy(array)
    except TypeError as error:
        raise ValueError(f"an array of {array.dtype}; needs uint8, or float") from error
    return pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels


def _pil_to_tensor(image: Any) -> Tensor:  # noqa: ANN401
    from PIL import Image, ImageOps

    if not isinstance(image, Image.Image):
        raise ValueError(  # noqa: TRY004  it is the value of an item that does not fit
            f"a {type(image).__name__}; needs a PIL image, a tensor (C, H, W) "
            "or an array (H, W, C)"
        )
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        return torch.from_numpy(_halve_depth(np.asarray(upright)))
    see_through = upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (
        "transparency" in upright.info and upright.mode in ("P", "L", "RGB", "1")
    )
    if see_through:
        # Premultiplied modes convert to RGBA alone; a palette's colours may be grey or not.
        grey = upright.mode in ("LA", "L", "1", "La")
        upright = upright.convert("RGBA")
        layers = torch.from_numpy(np.array(upright)).permute(2, 0, 1)
        return layers[[0, 3]] if grey else layers
    if upright.mode not in ("L", "RGB"):
        upright = upright.convert("L" if upright.mode == "1" else "RGB")
    layers = torch.from_numpy(np.array(upright))
    return layers if layers.ndim == 2 else layers.permute(2, 0, 1)


def _halve_depth(values: np.ndarray) -> np.ndarray:
    """Depth 16 to 8: 65535 is 257 times 255. Floats up to 1 are scaled, others are depth 8."""
    wide = values.astype(np.float64)
    if values.dtype.kind == "f":
        scaled = wide * 255 if wide.max(initial=0) <= 1 else wide
    else:
        # Pillow hands 16-bit files out as 32-bit integers too.
        scaled = wide / 257
    return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)
