"""Decoded images on the node's disk: written once, mapped by every worker.

Decoding is most of what a loader does. One process decodes under a lock while the others of the
node wait, and the finished folder appears in one step, so that nobody ever maps half of it.
Pages are shared between processes, and copy-on-write: what one of them writes into an image
reaches neither another nor the file.

A folder of the cache holds `pixels.bin` (all images one after another, uint8, each (H, W, C)),
`index.npy` (int64 (N, 3): offset, height, width; height 0 where the file could not be read) and
`header.json`. Its name is a digest of the files' paths, sizes and times of change, of the
channels and of the decoders' versions.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from orchestrator.training.data.decode_pass import Failures, decode_files, find_failures
from orchestrator.training.data.decoding import (
    UnreadableImageError,
    describe_decoder,
    read_size,
)

_SAMPLED = 256
"""Headers read to estimate what all images take when decoded."""


class MappedPixels:
    """Decoded images in a mapped file; pickles by its folder.

    Args:
        folder: A finished folder of the cache.
        paths: The files that were decoded, for messages.
    """

    draws = False

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths
        header = json.loads((folder / "header.json").read_text())
        self.failures: Failures = dict(header["failures"])
        self._channels = header["channels"]
        index = np.load(folder / "index.npy")
        self._places: list[list[int]] = index.tolist()
        # A plain array on the map: the memmap class itself takes its time with every slice.
        mapped = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="c")
        self._flat = np.asarray(mapped)

    def __reduce__(self) -> tuple[Any, ...]:
        """Mapped again in another process."""
        return MappedPixels, (self._folder, self._paths)

    def __len__(self) -> int:
        """How many files there are, unreadable ones included."""
        return len(self._places)

    @cached_property
    def whole(self) -> Tensor | None:
        """All images at once, uint8, shape (N, C, H, W); None where they differ in size."""
        sizes = {(height, width) for _, height, width in self._places}
        if len(sizes) != 1:
            return None
        flat = torch.from_numpy(self._flat)
        return flat.view(len(self), *sizes.pop(), self._channels).permute(0, 3, 1, 2)

    def read(self, row: int) -> Tensor:
        """One image, shape (C, H, W), strided as (H, W, C)."""
        start, height, width = self._places[row]
        end = start + height * width * self._channels
        layers = self._flat[start:end].reshape(height, width, self._channels)
        return torch.from_numpy(layers).permute(2, 0, 1)

    def describe(self, row: int) -> str:
        """The file's path."""
        return self._paths[row]


def cache_folder() -> Path:
    """`$ORCHESTRATOR_CACHE`, else `orchestrator` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    own = os.environ.get("ORCHESTRATOR_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orchestrator"


def digest_files(paths: Sequence[str], *, channels: int) -> str:
    """What the cache calls these files, as they are now, decoded to so many channels."""
    digest = hashlib.sha256(f"{channels}\n{describe_decoder()}".encode())
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116  a Path each takes seconds
            # Tools that turn photographs put the time of change back, a mended right to read
            # leaves it; the system's own note of both is `ctime`.
            state = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        except OSError:
            state = "missing"
        digest.update(f"\n{path}\0{state}".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def estimate_bytes(paths: Sequence[str], *, channels: int) -> int:
    """What the files take when decoded, from the headers of some of them."""
    sizes = []
    for path in paths[:: -(-len(paths) // _SAMPLED)]:
        try:
            height, width = read_size(path)
        except UnreadableImageError:
            continue
        sizes.append(height * width * channels)
    return round(sum(sizes) / len(sizes) * len(paths)) if sizes else 0


def open_cache(paths: Sequence[str], key: str) -> MappedPixels | None:
    """The decoded images where they are there already."""
    folder = cache_folder() / key
    return MappedPixels(folder, paths) if (folder / "header.json").is_file() else None


def build_cache(
    paths: Sequence[str], key: str, *, channels: int, keep_failures: bool
) -> MappedPixels | Failures:
    """The decoded images, decoded here unless another process does or did.

    Args:
        paths: The files.
        key: What `digest_files` calls them.
        channels: Channels to decode to.
        keep_failures: Whether images may be missing; if not, nothing is kept where one is.

    Returns:
        The images, or what could not be read where that is not to be kept.

    Raises:
        OSError: The folder cannot be written to, or is full.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{key}.lock"):
        found = open_cache(paths, key)
        if found is not None:
            return found
        unfinished = folder / f"{key}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            failures = _write_images(unfinished, paths, channels)
            if (failures and not keep_failures) or len(failures) == len(paths):
                return failures
            unfinished.rename(folder / key)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return MappedPixels(folder / key, paths)


def check_files(paths: Sequence[str], key: str, *, channels: int) -> Failures:
    """What cannot be read, looked for once; the answer is kept beside the cache.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / f"{key}.checked.json"
    with locked(folder / f"{key}.lock"):
        if answer.is_file():
            return dict(json.loads(answer.read_text()))
        failures = find_failures(paths, channels=channels)
        unfinished = answer.with_suffix(".part")
        unfinished.write_text(json.dumps(list(failures.items())))
        unfinished.replace(answer)
    return failures


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, whatever ends it; wait for who holds it now."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_images(folder: Path, paths: Sequence[str], channels: int) -> Failures:
    index = np.zeros((len(paths), 3), dtype=np.int64)
    with (folder / "pixels.bin").open("wb") as file:
        failures = _write_pixels(file, index, decode_files(paths, channels=channels))
        file.flush()
        os.fsync(file.fileno())
    np.save(folder / "index.npy", index)
    header = {
        "channels": channels,
        "decoder": describe_decoder(),
        "failures": list(failures.items()),
    }
    (folder / "header.json").write_text(json.dumps(header))
    return failures


def _write_pixels(
    file: BinaryIO, index: np.ndarray, images: Iterator[Tensor | UnreadableImageError]
) -> Failures:
    failures: Failures = {}
    for row, image in enumerate(images):
        if isinstance(image, UnreadableImageError):
            failures[row] = image.reason
            continue
        index[row] = file.tell(), *image.shape[1:]
        file.write(image.permute(1, 2, 0).contiguous().numpy().data)
    return failures
