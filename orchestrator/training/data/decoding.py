"""Image files to uint8 tensors, by the fastest decoder that gives Pillow's pixels.

torchvision's JPEG decoder takes less than half of Pillow's time and agrees with it to the bit,
EXIF orientation included; whatever is no plain JPEG, and whatever it refuses, is Pillow's. A
file's bytes alone decide which of the two reads it.
"""

import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.training.data.images import fit_channels, image_to_tensor

_JPEG = b"\xff\xd8\xff"

JpegDecoder = Callable[[Tensor], Tensor]


class UnreadableImageError(TrainingError):
    """A file that is no image, or not all of one."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"data.root: {path} cannot be read ({reason}); "
            "replace it, or set data.on_corrupt: skip"
        )
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Pickled by its parts: it crosses from loader processes."""
        return type(self), (self.path, self.reason)


def read_image(path: str, *, channels: int) -> Tensor:
    """Decode one file, upright, with as many channels as asked for.

    Returns:
        uint8, shape (channels, H, W), strided as (H, W, C) where that is how it was decoded.

    Raises:
        UnreadableImageError: The file is missing, truncated, corrupt or no image; says which.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImageError(path, error.strerror or str(error)) from error
    decode = load_jpeg_decoder()
    if decode is not None and content.startswith(_JPEG):
        try:
            pixels = decode(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        except RuntimeError:
            pixels = torch.empty(0)
        # Four channels are CMYK, for which Pillow knows the inverted kinds.
        if len(pixels) in (1, 3):
            return fit_channels(pixels, channels)
    return _read_with_pillow(path, content, channels=channels)


def read_size(path: str) -> tuple[int, int]:
    """Height and width that a file's header tells, before it is turned upright.

    Raises:
        UnreadableImageError: It has no header that is known.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            return image.height, image.width
    except Exception as error:
        raise UnreadableImageError(path, _reason(error)) from error


@cache
def load_jpeg_decoder() -> JpegDecoder | None:
    """The JPEG decoder of torchvision; None where there is none, and Pillow does all."""
    try:
        import torchvision.io  # noqa: F401  registers the operator

        # The public function warns, file by file, that it will move to another package.
        operator = torch.ops.image.decode_jpeg
    except (ImportError, AttributeError, RuntimeError):
        return None
    return lambda content: operator(content, 0, True)


@cache
def describe_decoder() -> str:
    """Names and versions of what decodes: other versions may give other pixels."""
    parts = [f"pillow {version('pillow')}"]
    if load_jpeg_decoder() is not None:
        parts.append(f"torchvision {version('torchvision')}")
    return ", ".join(["1", *parts])


def _read_with_pillow(path: str, content: bytes, *, channels: int) -> Tensor:
    from io import BytesIO

    from PIL import Image

    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
            return image_to_tensor(image, channels=channels)
    except Exception as error:
        reason = _reason(error) if content else "empty file"
        raise UnreadableImageError(path, reason) from error


def _reason(error: Exception) -> str:
    text = str(error).split("\n")[0]
    # Pillow names the buffer that it was given, at an address that says nothing.
    return "no known kind of image" if "cannot identify" in text else text
