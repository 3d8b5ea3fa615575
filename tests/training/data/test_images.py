"""Conversions: every kind of image comes out as the same uint8 pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from orchestrator.training.data.images import fit_channels, image_to_tensor, tensor_to_pil

SIZES = [(1, 1), (7, 5), (16, 3)]


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Pixels (H, W, C)."""
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)


def layers(array: np.ndarray) -> Tensor:
    """(H, W, C) as a tensor (C, H, W)."""
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_trip_through_pillow_changes_nothing(height: int, width: int, channels: int) -> None:
    """Tensor to PIL and back, of any size, grey and colour."""
    pixels = layers(noise(height, width, channels))

    image = tensor_to_pil(pixels)

    assert image.size == (width, height)
    assert image.mode == ("L" if channels == 1 else "RGB")
    assert torch.equal(image_to_tensor(image, channels=channels), pixels)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_arrays_and_tensors_say_the_same(height: int, width: int) -> None:
    """(H, W, C) and (C, H, W), uint8 and float, contiguous, turned or read-only."""
    array = noise(height, width)
    pixels = layers(array)
    frozen = array.copy()
    frozen.flags.writeable = False

    for image in (
        array,
        frozen,
        array[::-1][::-1],
        array.astype(np.float32) / 255,
        array.astype(np.float64) / 255,
        np.asfortranarray(array),
        pixels,
        pixels.float() / 255,
        pixels.double() / 255,
        pixels.contiguous(),
        Image.fromarray(array),
    ):
        converted = image_to_tensor(image, channels=3)
        assert converted.dtype == torch.uint8
        assert torch.equal(converted, pixels)


def test_two_dimensions_are_grey() -> None:
    """(H, W) has one channel, repeated for colour; booleans are black and white."""
    grey = noise(4, 6, 1)[:, :, 0]

    for image in (grey, torch.from_numpy(grey), Image.fromarray(grey)):
        assert torch.equal(image_to_tensor(image, channels=1)[0], torch.from_numpy(grey))
        assert image_to_tensor(image, channels=3).shape == (3, 4, 6)
    assert image_to_tensor(grey > 100, channels=1).unique().tolist() == [0, 255]


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "CMYK", "YCbCr", "HSV", "LAB"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_what_pillow_makes_of_it(mode: str, channels: int) -> None:
    """Without transparency, colour is Pillow's RGB; grey is its L of that, to the bit."""
    image = Image.fromarray(noise(9, 5))
    image = image.convert(mode) if mode != "LAB" else Image.fromarray(noise(9, 5), mode="LAB")

    colour = image.convert("RGB")
    expected = np.asarray(colour if channels == 3 else colour.convert("L"))

    got = image_to_tensor(image, channels=channels)
    assert np.array_equal(got.permute(1, 2, 0).squeeze(-1).numpy(), expected)


def test_transparency_is_laid_on_white() -> None:
    """Clear is white, opaque is the colour, half is half way: 255 - (255 - c) * a / 255."""
    array = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [10, 20, 30, 51]]], dtype=np.uint8)

    for image in (Image.fromarray(array), array, layers(array)):
        laid = image_to_tensor(image, channels=3)[:, 0].T.tolist()
        # 51 / 255 = 1/5: 255 - 245 / 5 = 206, 255 - 235 / 5 = 208, 255 - 225 / 5 = 210.
        assert laid == [[255, 255, 255], [10, 20, 30], [206, 208, 210]]


def test_grey_with_transparency_is_laid_on_white() -> None:
    """Mode LA, and arrays of two channels; grey and colour agree."""
    array = np.array([[[10, 0], [10, 255], [10, 51]]], dtype=np.uint8)

    for image in (Image.fromarray(array, mode="LA"), array, layers(array)):
        assert image_to_tensor(image, channels=1)[0, 0].tolist() == [255, 10, 206]
        assert image_to_tensor(image, channels=3)[:, 0, 2].tolist() == [206] * 3


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    """As GIF and PNG have it."""
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 1

    assert image_to_tensor(image, channels=3)[:, 0].T.tolist() == [[200, 0, 0], [255] * 3]


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bits_become_eight(mode: str) -> None:
    """65535 is 255 and 257 is 1; between them it is rounded: 128 is 0 and 129 is 1."""
    values = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    image = (
        Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.int32))
    )

    assert image.mode == mode
    assert image_to_tensor(image, channels=1).flatten().tolist() == [0, 0, 1, 1, 128, 255]
    assert image_to_tensor(values, channels=1).flatten().tolist() == [0, 0, 1, 1, 128, 255]


def test_float_images_are_read_by_their_range() -> None:
    """Mode F in [0, 1] is scaled, beyond 1 it counts grey levels and is cut at 255."""
    small = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    large = Image.fromarray(np.array([[0.0, 127.6, 300.0]], dtype=np.float32))

    assert image_to_tensor(small, channels=1).flatten().tolist() == [0, 128, 255]
    assert image_to_tensor(large, channels=1).flatten().tolist() == [0, 128, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    """All eight of EXIF, by hand: which pixel of the stored image stands at the top left."""
    array = noise(2, 3)
    image = Image.fromarray(array)
    image.getexif()[0x112] = orientation
    by_hand = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: array[::-1].transpose(1, 0, 2),
        7: array[::-1, ::-1].transpose(1, 0, 2),
        8: array[:, ::-1].transpose(1, 0, 2),
    }[orientation]

    assert torch.equal(image_to_tensor(image, channels=3), layers(by_hand))


def test_grey_is_weighted_as_pillow_does() -> None:
    """All of 32^3 colours, to the bit."""
    steps = np.arange(0, 256, 8, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(32, -1, 3)

    expected = np.asarray(Image.fromarray(cube).convert("L"))

    assert np.array_equal(fit_channels(layers(cube), 1)[0].numpy(), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(5, 4, 4), r"an image of 5 channels; needs 3"),
        (torch.zeros(1, 3, 4, 4), r"an image of shape \(1, 3, 4, 4\); needs \(C, H, W\)"),
        (torch.zeros(3, 0, 4), r"an image of shape \(3, 0, 4\); needs"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), r"an image of torch.int64; needs uint8"),
        (torch.full((3, 2, 2), 2.0), r"a float image in \[2, 2\]; needs \[0, 1\], or uint8"),
        (torch.full((3, 2, 2), -0.5), r"a float image in \[-0.5, -0.5\]; needs"),
        (torch.full((3, 2, 2), float("nan")), r"a float image in \[nan, nan\]; needs"),
        (np.zeros((4, 4, 3), dtype=object), r"an array of object; needs uint8, or float"),
        ("picture.png", r"a str; needs a PIL image, a tensor \(C, H, W\) or an array"),
        (None, r"a NoneType; needs a PIL image"),
    ],
)
def test_what_is_no_image_is_said(image: object, message: str) -> None:
    """What came, and what is needed."""
    with pytest.raises(ValueError, match=message):
        image_to_tensor(image, channels=3)
