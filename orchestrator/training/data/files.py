"""Image files as pixels: from the cache of decoded images, or from the files themselves.

Which of the two changes the speed and nothing else. Either way it is settled before the first
step which files cannot be read, unless they are streamed and none may be left out: then the
first to be met says so.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.errors import TrainingError
from orchestrator.training.data.cache import (
    MappedPixels,
    build_cache,
    cache_folder,
    check_files,
    digest_files,
    estimate_bytes,
    open_cache,
)
from orchestrator.training.data.decode_pass import Failures, refuse_failures
from orchestrator.training.data.image_set import FilePixels, Pixels

CacheMode = Literal["auto", "on", "off"]

_SHARE_OF_DISK = 1 / 4
"""Share of the free disk that decoded images may take unasked."""


@dataclass(frozen=True, eq=False)
class OpenedFiles:
    """Files that can be read from now on."""

    pixels: Pixels
    """One row per file, unreadable ones included."""
    failures: Failures


def open_files(
    paths: Sequence[str],
    *,
    channels: int,
    cache: CacheMode,
    on_corrupt: Literal["fail", "skip"],
) -> OpenedFiles:
    """Make image files readable, by the cache where it is wanted and fits.

    Args:
        paths: Absolute.
        channels: Channels to decode to.
        cache: Whether to use the cache of decoded images.
        on_corrupt: Whether to refuse files that cannot be read or to return them.

    Raises:
        TrainingError: Some file cannot be read, with `fail`; none can; the cache is asked for
            and has no room.
    """
    key = (
        digest_files(paths, channels=channels) if cache != "off" or on_corrupt == "skip" else ""
    )
    pixels = None if cache == "off" else _open_cached(paths, key, channels, cache, on_corrupt)
    failures = pixels.failures if pixels is not None else {}
    if pixels is None and on_corrupt == "skip":
        failures = _check(paths, key, channels)
    if failures and (on_corrupt == "fail" or len(failures) == len(paths)):
        raise refuse_failures(paths, failures)
    if pixels is not None:
        return OpenedFiles(pixels, failures)
    return OpenedFiles(FilePixels(tuple(paths), channels), failures)


def _open_cached(
    paths: Sequence[str], key: str, channels: int, cache: CacheMode, on_corrupt: str
) -> MappedPixels | None:
    """The decoded images; None where they are to be streamed instead."""
    try:
        found = open_cache(paths, key)
        if found is not None:
            return found
        if not _fits(paths, channels, cache):
            return None
        built = build_cache(paths, key, channels=channels, keep_failures=on_corrupt == "skip")
    except OSError as error:
        if cache == "auto":
            return None
        raise TrainingError(
            f"data.cache: {cache_folder()} cannot be written to ({error.strerror}); name "
            "another folder in ORCHESTRATOR_CACHE, or set data.cache: false"
        ) from error
    if isinstance(built, MappedPixels):
        return built
    raise refuse_failures(paths, built)


def _fits(paths: Sequence[str], channels: int, cache: CacheMode) -> bool:
    needed = estimate_bytes(paths, channels=channels)
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if cache == "auto":
        return needed <= free * _SHARE_OF_DISK
    if needed > free:
        raise TrainingError(
            f"data.cache: {len(paths)} decoded images take about {needed / 2**30:.1f} GiB, "
            f"{folder} has {free / 2**30:.1f} GiB left; name another folder in "
            "ORCHESTRATOR_CACHE, or set data.cache: false"
        )
    return True


def _check(paths: Sequence[str], key: str, channels: int) -> Failures:
    try:
        return check_files(paths, key, channels=channels)
    except OSError as error:
        raise TrainingError(
            f"data.on_corrupt: what cannot be read is noted in {cache_folder()}, which cannot "
            f"be written to ({error.strerror}); name another folder in ORCHESTRATOR_CACHE"
        ) from error
