"""One pass over image files that decodes them all, on as many CPUs as this process may use.

Decoders leave Python's lock alone while they work, so that threads suffice and nothing has to
be copied between processes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.training.data.decoding import UnreadableImageError, read_image

Progress = Callable[[int, int], None]
"""Called with the number of files done and the number of all."""

Failures = dict[int, str]
"""Position of each file that cannot be read, and why."""

_AHEAD = 16
"""Decoded images per thread that may wait to be taken: bounds the memory."""


def decode_files(
    paths: Sequence[str], *, channels: int, progress: Progress | None = None
) -> Iterator[Tensor | UnreadableImageError]:
    """Each file's pixels, in order, or why there are none; uint8, shape (channels, H, W)."""
    threads = available_cpus()
    waiting: deque[Future[Tensor | UnreadableImageError]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for done, path in enumerate(paths):
            waiting.append(pool.submit(_decode, path, channels))
            if len(waiting) > threads * _AHEAD:
                yield waiting.popleft().result()
            if progress is not None and done % 100 == 0:
                progress(max(0, done - len(waiting)), len(paths))
        while waiting:
            yield waiting.popleft().result()
    if progress is not None:
        progress(len(paths), len(paths))


def find_failures(
    paths: Sequence[str], *, channels: int, progress: Progress | None = None
) -> Failures:
    """Decode every file and keep only what went wrong."""
    decoded = decode_files(paths, channels=channels, progress=progress)
    return {
        position: found.reason
        for position, found in enumerate(decoded)
        if isinstance(found, UnreadableImageError)
    }


def refuse_failures(paths: Sequence[str], failures: Failures) -> TrainingError:
    """One error for all files that cannot be read."""
    named = [f"{paths[position]} ({reason})" for position, reason in failures.items()][:5]
    rest = len(failures) - len(named)
    more = f" and {rest} more" if rest else ""
    return TrainingError(
        f"data.root: {len(failures)} of {len(paths)} images cannot be read: "
        f"{', '.join(named)}{more}; replace them, or set data.on_corrupt: skip"
    )


def available_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _decode(path: str, channels: int) -> Tensor | UnreadableImageError:
    try:
        return read_image(path, channels=channels)
    except UnreadableImageError as error:
        return error
