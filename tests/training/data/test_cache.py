"""The cache of decoded images: the files' own pixels, made once, safe from who maps them."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from orchestrator.training.data import cache as cache_module
from orchestrator.training.data.cache import (
    MappedPixels,
    build_cache,
    cache_folder,
    check_files,
    digest_files,
    estimate_bytes,
    open_cache,
)
from orchestrator.training.data.decoding import read_image

WriteImage = Callable[..., Path]


@pytest.fixture
def paths(write_image: WriteImage) -> list[str]:
    """Four files of different formats and sizes, 2,766 pixels in all."""
    return [
        str(write_image("a.jpg", size=(20, 30), seed=1)),
        str(write_image("b.png", size=(33, 17), seed=2)),
        str(write_image("c.png", size=(1, 5), mode="L", seed=3)),
        str(write_image("d.bmp", size=(40, 40), seed=4)),
    ]


def build(paths: list[str], *, channels: int = 3, keep_failures: bool = False) -> MappedPixels:
    """The cache of these files, which can all be kept."""
    key = digest_files(paths, channels=channels)
    built = build_cache(paths, key, channels=channels, keep_failures=keep_failures)
    assert isinstance(built, MappedPixels)
    return built


@pytest.mark.parametrize("channels", [1, 3])
def test_the_cache_holds_the_files_pixels(paths: list[str], channels: int) -> None:
    """Of whatever format and size, to the bit; and the names of the files."""
    pixels = build(paths, channels=channels)

    assert len(pixels) == 4
    assert pixels.whole is None
    for row, path in enumerate(paths):
        assert torch.equal(pixels.read(row), read_image(path, channels=channels))
        assert pixels.describe(row) == path


def test_images_of_one_size_can_be_had_at_once(write_image: WriteImage) -> None:
    """As one tensor on the map, without reading it."""
    paths = [str(write_image(f"{number}.png", seed=number)) for number in range(5)]

    whole = build(paths).whole

    assert whole is not None
    expected = torch.stack([read_image(path, channels=3) for path in paths])
    assert torch.equal(whole, expected)


def test_writing_into_an_image_reaches_nobody(paths: list[str]) -> None:
    """Neither the file nor another map of it; and another process's map is pickled anew."""
    mine = build(paths)
    stored = (cache_folder() / digest_files(paths, channels=3) / "pixels.bin").read_bytes()
    theirs = pickle.loads(pickle.dumps(mine))
    before = theirs.read(0).clone()

    mine.read(0).fill_(77)

    assert (mine.read(0) == 77).all()
    assert torch.equal(theirs.read(0), before)
    again = open_cache(paths, digest_files(paths, channels=3))
    assert again is not None
    assert torch.equal(again.read(0), before)
    files = cache_folder() / digest_files(paths, channels=3)
    assert (files / "pixels.bin").read_bytes() == stored


def test_decoded_images_are_not_decoded_again(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second maps what is there."""
    build(paths)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(cache_module, "decode_files", never)

    assert torch.equal(build(paths).read(3), read_image(paths[3], channels=3))


def test_the_key_is_of_what_can_change_a_pixel(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, their sizes and times of change, channels, versions of the decoders."""
    keys = [digest_files(paths, channels=3), digest_files(paths, channels=1)]
    keys.append(digest_files(paths[:3], channels=3))
    keys.append(digest_files(paths[::-1], channels=3))
    monkeypatch.setattr(cache_module, "describe_decoder", lambda: "another")
    keys.append(digest_files(paths, channels=3))
    monkeypatch.undo()
    os.utime(paths[0], (1, 1))
    keys.append(digest_files(paths, channels=3))
    Path(paths[0]).unlink()
    keys.append(digest_files(paths, channels=3))

    assert len(set(keys)) == 7


@pytest.mark.parametrize("change", ["bytes", "rights"])
def test_a_change_that_hides_itself_is_noticed(paths: list[str], change: str) -> None:
    """Other bytes of the same length at the same time, and a right to read that was mended."""
    key, file = digest_files(paths, channels=3), Path(paths[0])
    before = file.stat()

    # Again until the clock of the file system, which is a coarse one, has moved.
    while file.stat().st_ctime_ns == before.st_ctime_ns:
        if change == "bytes":
            file.write_bytes(file.read_bytes()[::-1])
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            file.chmod(0o600)

    now = file.stat()
    assert (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest_files(paths, channels=3) != key


def test_a_crash_leaves_nothing_that_is_taken_for_a_cache(paths: list[str]) -> None:
    """Half a folder under its working name is thrown away by who comes next."""
    key = digest_files(paths, channels=3)
    half = cache_folder() / f"{key}.part"
    half.mkdir(parents=True)
    (half / "pixels.bin").write_bytes(b"half")

    assert open_cache(paths, key) is None
    assert torch.equal(build(paths).read(1), read_image(paths[1], channels=3))
    assert not half.exists()


def test_unreadable_files_are_kept_by_name_or_not_at_all(paths: list[str]) -> None:
    """Where they may be left out the cache says which; where not, nothing stays on the disk."""
    Path(paths[1]).write_bytes(b"broken")
    key = digest_files(paths, channels=3)

    refused = build_cache(paths, key, channels=3, keep_failures=False)
    assert refused == {1: "no known kind of image"}
    assert [entry.name for entry in cache_folder().iterdir()] == [f"{key}.lock"]

    kept = build(paths, keep_failures=True)
    assert kept.failures == {1: "no known kind of image"}
    assert torch.equal(kept.read(2), read_image(paths[2], channels=3))


def test_a_cache_of_nothing_readable_is_not_kept(tmp_path: Path) -> None:
    """There would be nothing to map."""
    (tmp_path / "x.png").write_bytes(b"x")
    paths = [str(tmp_path / "x.png")]

    assert build_cache(paths, "key", channels=3, keep_failures=True) == {
        0: "no known kind of image"
    }


def test_the_estimate_is_of_the_decoded_bytes(paths: list[str], tmp_path: Path) -> None:
    """20 x 30 + 33 x 17 + 1 x 5 + 40 x 40 pixels; the unreadable count as the mean."""
    assert estimate_bytes(paths, channels=3) == 2766 * 3
    assert estimate_bytes(paths, channels=1) == 2766
    (tmp_path / "x.png").write_bytes(b"x")
    broken = str(tmp_path / "x.png")
    assert estimate_bytes([*paths, broken], channels=1) == round(2766 / 4 * 5)
    assert estimate_bytes([broken], channels=1) == 0


def test_the_folder_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Our own variable, the desktop's, the home folder, in this order."""
    monkeypatch.setenv("ORCHESTRATOR_CACHE", "/scratch/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/desktop")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == Path("/scratch/mine")
    monkeypatch.delenv("ORCHESTRATOR_CACHE")
    assert cache_folder() == Path("/scratch/desktop/orchestrator")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "orchestrator"


def test_a_check_is_made_once(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is kept beside the cache under the same key."""
    Path(paths[0]).write_bytes(b"")
    first = check_files(paths, "key", channels=3)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(cache_module, "find_failures", never)

    assert first == check_files(paths, "key", channels=3) == {0: "empty file"}


RACE = """
import json, sys
from pathlib import Path
from orchestrator.training.data import cache
paths = json.loads(sys.argv[1])
decoded = []
real = cache.decode_files
def counted(*arguments, **named):
    decoded.append(1)
    return real(*arguments, **named)
cache.decode_files = counted
pixels = cache.build_cache(paths, cache.digest_files(paths, channels=3), channels=3,
                           keep_failures=False)
print(len(decoded), sum(int(pixels.read(row).sum()) for row in range(len(pixels))))
"""


def test_processes_that_start_together_decode_once(
    write_image: WriteImage, child_environment: Mapping[str, str]
) -> None:
    """Two ranks of a node: one of them decodes, both map the same pixels."""
    paths = [
        str(write_image(f"{number}.jpg", size=(99, 70), seed=number)) for number in range(40)
    ]
    environment = {**child_environment, "ORCHESTRATOR_CACHE": os.environ["ORCHESTRATOR_CACHE"]}

    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, json.dumps(paths)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [racer.communicate(timeout=60)[0].split() for racer in racers]

    total = sum(int(read_image(path, channels=3).sum()) for path in paths)
    assert sorted(decoded for decoded, _ in said) == ["0", "1"]
    assert [int(found) for _, found in said] == [total, total]
