"""Files on their two roads, cached and streamed: the same pixels, the same refusals."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.training.data.cache import MappedPixels
from orchestrator.training.data.decode_pass import available_cpus, decode_files, find_failures
from orchestrator.training.data.decoding import UnreadableImageError, read_image
from orchestrator.training.data.files import CacheMode, open_files
from orchestrator.training.data.image_set import FilePixels

WriteImage = Callable[..., Path]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def paths(write_image: WriteImage) -> list[str]:
    """Nine files of 12 x 10 pixels: 3,240 bytes when decoded to colour."""
    return [str(write_image(f"{number}.png", seed=number)) for number in range(9)]


def set_free_disk(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """Let the disk of the cache have so many bytes left."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free))


@pytest.mark.parametrize("cache", ["on", "auto", "off"])
@pytest.mark.parametrize("on_corrupt", ["fail", "skip"])
def test_every_road_has_the_same_pixels(
    paths: list[str], cache: CacheMode, on_corrupt: str
) -> None:
    """Mapped or decoded on the way."""
    opened = open_files(paths, channels=3, cache=cache, on_corrupt=on_corrupt)  # type: ignore[arg-type]

    assert isinstance(opened.pixels, FilePixels if cache == "off" else MappedPixels)
    assert opened.failures == {}
    for row, path in enumerate(paths):
        assert torch.equal(opened.pixels.read(row), read_image(path, channels=3))


@pytest.mark.parametrize(
    ("free", "kind"), [(3240 * 4, MappedPixels), (3240 * 4 - 1, FilePixels)]
)
def test_a_quarter_of_the_free_disk_is_taken_unasked(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, free: int, kind: type
) -> None:
    """Four times what is needed is room enough, a byte less is not."""
    set_free_disk(monkeypatch, free)

    assert isinstance(
        open_files(paths, channels=3, cache="auto", on_corrupt="fail").pixels, kind
    )


def test_a_cache_that_does_not_fit_is_refused(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """Asked for, it may fill the disk; beyond that both sizes are said."""
    set_free_disk(monkeypatch, 3239)

    with pytest.raises(TrainingError) as caught:
        open_files(paths, channels=3, cache="on", on_corrupt="fail")

    assert str(caught.value) == (
        f"data.cache: 9 decoded images take about 0.0 GiB, {cache} has 0.0 GiB left; name "
        "another folder in ORCHESTRATOR_CACHE, or set data.cache: false"
    )


@pytest.mark.parametrize("mode", ["on", "auto"])
def test_a_folder_that_cannot_be_written_to(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: CacheMode
) -> None:
    """Asked for it is refused; unasked the images are streamed."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "file" / "cache"))

    if mode == "auto":
        opened = open_files(paths, channels=3, cache=mode, on_corrupt="fail")
        assert isinstance(opened.pixels, FilePixels)
    else:
        with pytest.raises(TrainingError, match=r"^data\.cache: .* cannot be written to \("):
            open_files(paths, channels=3, cache=mode, on_corrupt="fail")


def test_all_unreadable_files_are_refused_at_once(paths: list[str]) -> None:
    """Seven of nine: five by name with their reasons, the others counted."""
    for path in paths[:7]:
        Path(path).write_bytes(b"broken")

    with pytest.raises(TrainingError) as caught:
        open_files(paths, channels=3, cache="on", on_corrupt="fail")

    named = ", ".join(f"{path} (no known kind of image)" for path in paths[:5])
    assert str(caught.value) == (
        f"data.root: 7 of 9 images cannot be read: {named} and 2 more; "
        "replace them, or set data.on_corrupt: skip"
    )


@pytest.mark.parametrize("cache", ["on", "off"])
def test_unreadable_files_are_left_out_and_named(paths: list[str], cache: CacheMode) -> None:
    """Whichever road the others take."""
    Path(paths[4]).write_bytes(b"")

    opened = open_files(paths, channels=3, cache=cache, on_corrupt="skip")

    assert opened.failures == {4: "empty file"}
    assert torch.equal(opened.pixels.read(8), read_image(paths[8], channels=3))


def test_what_one_run_left_out_another_still_refuses(paths: list[str]) -> None:
    """A cache with gaps, made under `skip`, is no excuse under `fail`."""
    Path(paths[4]).write_bytes(b"")
    open_files(paths, channels=3, cache="on", on_corrupt="skip")

    with pytest.raises(
        TrainingError, match=r"1 of 9 images cannot be read: .*4\.png \(empty file"
    ):
        open_files(paths, channels=3, cache="on", on_corrupt="fail")


@pytest.mark.parametrize("cache", ["on", "off"])
def test_nothing_readable_is_refused_even_where_some_may_be_left_out(
    paths: list[str], cache: CacheMode
) -> None:
    """There is nothing to train on."""
    for path in paths:
        Path(path).write_bytes(b"")

    with pytest.raises(TrainingError, match=r"^data\.root: 9 of 9 images cannot be read"):
        open_files(paths, channels=3, cache=cache, on_corrupt="skip")


def test_a_pass_keeps_the_order_and_tells_how_far_it_is(write_image: WriteImage) -> None:
    """250 files of several sizes, decoded by as many threads as there are CPUs."""
    paths = [
        str(write_image(f"{number}.png", size=(1 + number % 40, 3), seed=number))
        for number in range(250)
    ]
    Path(paths[120]).write_bytes(b"")
    told: list[tuple[int, int]] = []

    decoded = list(
        decode_files(paths, channels=3, progress=lambda done, total: told.append((done, total)))
    )

    assert available_cpus() >= 1
    assert told == sorted(told)
    assert told[-1] == (250, 250)
    for position, (path, image) in enumerate(zip(paths, decoded, strict=True)):
        if position == 120:
            assert isinstance(image, UnreadableImageError)
        else:
            assert torch.equal(image, read_image(path, channels=3))
    assert find_failures(paths, channels=3) == {120: "empty file"}
