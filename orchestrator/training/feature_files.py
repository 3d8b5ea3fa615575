"""Arrays on disk that are larger than memory, and a folder that is there whole or not at all.

Rows are written by position rather than through a mapping: a mapping's pages stay in memory
until they are written back, and two machines that share a folder would overwrite each other's
rows, which lie in the same pages.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.errors import InfeasibleError, SpecError

_GIB: Final = 2**30


def check_output(out: Path) -> None:
    """Refuse a folder that something lies in, before anything is computed.

    Raises:
        SpecError: It is not empty, or no folder.
    """
    if out.is_dir():
        if any(out.iterdir()):
            raise SpecError([f"--out: {out} is not empty; name another folder"])
    elif out.exists() or out.is_symlink():
        raise SpecError([f"--out: {out} is no folder; name another"])


@contextmanager
def finished_or_gone(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into, which takes its name when all went well.

    Raises:
        InfeasibleError: It cannot be written.
        SpecError: Somebody else was quicker.
    """
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    made = [parent for parent in out.parents if not parent.exists()]
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise InfeasibleError(f"--out: cannot write to {out} ({error.strerror})") from error
    try:
        yield unfinished
        check_output(out)
        unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # not empty: all went well
                parent.rmdir()


def create_arrays(folder: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Files of zeros, float32, whose place on the disk is taken.

    Args:
        folder: Where.
        shapes: File name to shape.

    Raises:
        InfeasibleError: The disk has no room for all of them.
    """
    needed = 4 * sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _refuse_size(folder, needed)
    try:
        for name, shape in shapes.items():
            np.lib.format.open_memmap(
                folder / name, mode="w+", dtype=np.float32, shape=tuple(shape)
            )
            with (folder / name).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise _refuse_size(folder, needed) from error


class RowWriter:
    """Writes rows of one of these files; several processes may, each its own rows.

    Args:
        path: The file, made by `create_arrays`.
    """

    def __init__(self, path: Path) -> None:
        mapped = np.lib.format.open_memmap(path, mode="r")
        self._shape = mapped.shape[1:]
        self._start = int(mapped.offset)
        self._bytes_per_row = 4 * int(np.prod(self._shape, dtype=np.int64))
        self._file = path.open("r+b", buffering=0)

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write some rows.

        Args:
            rows: Their numbers, ascending, shape (B,).
            values: float32, shape (B, ...).
        """
        assert values.shape == (len(rows), *self._shape), (values.shape, self._shape)
        dense = np.ascontiguousarray(values, dtype=np.float32)
        if int(rows[-1]) - int(rows[0]) == len(rows) - 1:
            self._write_at(int(rows[0]), dense)
            return
        for place, row in enumerate(rows.tolist()):
            self._write_at(row, dense[place : place + 1])

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _write_at(self, row: int, values: np.ndarray) -> None:
        left = memoryview(values.data).cast("B")
        offset = self._start + row * self._bytes_per_row
        # The system writes 2 GiB at once at most.
        while left:
            written = os.pwrite(self._file.fileno(), left, offset)
            left, offset = left[written:], offset + written


def _refuse_size(folder: Path, needed: int) -> InfeasibleError:
    free = shutil.disk_usage(folder).free
    return InfeasibleError(
        f"--out: the features take {needed / _GIB:.1f} GiB, the disk of {folder.parent} has "
        f"{free / _GIB:.1f} GiB left; ask for fewer layers or for --pool"
    )
