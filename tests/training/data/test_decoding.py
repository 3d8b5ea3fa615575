"""Files to pixels: one answer whoever decodes, and a name for what cannot be read."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from orchestrator.training.data import decoding
from orchestrator.training.data.decoding import (
    UnreadableImageError,
    describe_decoder,
    read_image,
    read_size,
)

WriteImage = Callable[..., Path]


def by_pillow(path: Path, channels: int) -> torch.Tensor:
    """What Pillow alone makes of a file without transparency, (C, H, W)."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    array = np.array(upright if channels == 3 else upright.convert("L"))
    return torch.from_numpy(array.reshape(*array.shape[:2], channels)).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.jpg", {"quality": 80}),
        ("fine.jpeg", {"quality": 95, "subsampling": 0}),
        ("progressive.jpg", {"progressive": True}),
        ("grey.jpg", {"mode": "L"}),
        ("print.jpg", {"mode": "CMYK"}),
        ("colour.png", {}),
        ("palette.png", {"mode": "P"}),
        ("bits.png", {"mode": "1"}),
        ("still.gif", {"mode": "P"}),
        ("bitmap.bmp", {}),
        ("raw.ppm", {}),
        ("raw.pgm", {"mode": "L"}),
        ("scan.tif", {"compression": "tiff_lzw"}),
        ("web.webp", {"lossless": True}),
        ("misnamed.png", {"format": "JPEG"}),
    ],
)
def test_every_format_has_pillows_pixels(
    write_image: WriteImage, name: str, options: dict[str, object], channels: int
) -> None:
    """Also where torchvision decodes, and whatever the file is called."""
    path = write_image(name, size=(33, 17), **options)

    pixels = read_image(str(path), channels=channels)

    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, by_pillow(path, channels))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_photographs_stand_upright(
    write_image: WriteImage, name: str, orientation: int
) -> None:
    """By the orientation that the camera noted; a turned one is as high as it was wide."""
    exif = Image.Exif()
    exif[0x112] = orientation
    path = write_image(name, size=(24, 16), exif=exif)

    pixels = read_image(str(path), channels=3)

    assert pixels.shape == ((3, 24, 16) if orientation in (6, 8) else (3, 16, 24))
    assert torch.equal(pixels, by_pillow(path, 3))


def test_sixteen_bit_files_keep_their_range(tmp_path: Path) -> None:
    """White is white in a PNG of depth 16."""
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16)).save(path)

    assert read_image(str(path), channels=1).flatten().tolist() == [0, 1, 255]


def test_without_torchvisions_decoder_the_pixels_are_the_same(
    write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its operators may go to another package; Pillow then does all."""
    path = str(write_image("photo.jpg", size=(40, 30), quality=70))
    fast, named = read_image(path, channels=3), describe_decoder()
    monkeypatch.setattr(decoding, "load_jpeg_decoder", lambda: None)

    assert torch.equal(read_image(path, channels=3), fast)
    assert describe_decoder.__wrapped__() != named


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png"])
def test_a_truncated_file_is_named(write_image: WriteImage, name: str) -> None:
    """Half of a file is not taken for a whole one with a grey lower half."""
    path = write_image(name, size=(64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(UnreadableImageError) as caught:
        read_image(str(path), channels=3)

    assert str(caught.value).startswith(f"data.root: {path} cannot be read (")
    assert str(caught.value).endswith("; replace it, or set data.on_corrupt: skip")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"no image at all", "no known kind of image"),
        (None, "No such file or directory"),
    ],
)
def test_what_is_no_image_is_named_with_its_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """Empty, something else, or not there; the same on the way back from a loader process."""
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UnreadableImageError) as caught:
        read_image(str(path), channels=3)

    again = pickle.loads(pickle.dumps(caught.value))
    for error in (caught.value, again):
        assert (error.path, error.reason) == (str(path), reason)
        assert "\n" not in str(error)


def test_a_header_tells_the_size(write_image: WriteImage, tmp_path: Path) -> None:
    """Height, then width; without the pixels."""
    path = write_image("wide.jpg", size=(50, 20))
    path.write_bytes(path.read_bytes()[:-50])
    (tmp_path / "none.png").write_bytes(b"x")

    assert read_size(str(path)) == (20, 50)
    with pytest.raises(UnreadableImageError, match="no known kind of image"):
        read_size(str(tmp_path / "none.png"))


def test_grey_of_a_colour_jpeg_is_the_colours_grey(write_image: WriteImage) -> None:
    """Not the file's own luma, which differs by rounding: a cache of either would tell."""
    path = write_image("photo.jpg", size=(31, 29))

    grey = Image.open(io.BytesIO(path.read_bytes())).convert("RGB").convert("L")

    assert np.array_equal(read_image(str(path), channels=1)[0].numpy(), np.asarray(grey))
