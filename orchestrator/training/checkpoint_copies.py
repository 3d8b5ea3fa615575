"""Checkpoints that outlive a node's disk: copied when written, brought when needed.

A run may go on where it has never been. The newest checkpoint of which there is a copy is
brought, unless this disk has one as new; one that this disk alone has is copied now.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator.errors import TrainingError
from orchestrator.training.checkpoint_file import (
    find_checkpoint,
    is_whole,
    read_step,
)
from orchestrator.training.context import Copies

_ATTEMPTS: Final = 3
"""At copies that another worker may remove at this moment."""


class CopiedFolder:
    """A folder of checkpoints and the copies of them; without copies it does nothing.

    Args:
        folder: It need not be there yet.
        copies: None where the disk is safe.
    """

    def __init__(self, folder: Path, copies: Copies | None) -> None:
        self._folder = folder
        self._copies = copies
        self._elsewhere: set[str] = set()
        """Names of the checkpoints that have a copy."""

    def bring_newest(self, *, is_own: bool = True) -> None:
        """Let this disk have the newest whole checkpoint.

        Args:
            is_own: Whether the folder is that of the run itself: another's is left as it is.

        Raises:
            TrainingError: The copies cannot be had.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self._bring_newest(is_own=is_own)
            except TrainingError:
                # A worker whose driver was killed trains on for a while, and drops what is old.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _bring_newest(self, *, is_own: bool) -> None:
        if self._copies is None:
            return
        names = {
            name for name in self._copies.names(self._folder) if read_step(name) is not None
        }
        self._elsewhere = names if is_own else set()
        here = find_checkpoint(self._folder).path
        newest = -1 if here is None else (read_step(here.name) or 0)
        for name in sorted(names, key=lambda name: read_step(name) or 0, reverse=True):
            if (read_step(name) or 0) <= newest:
                break
            self._copies.bring(self._folder / name)
            if is_whole(self._folder / name):
                return
        if is_own and here is not None and here.name not in names:
            self.keep(here)

    def bring(self, path: Path) -> Path:
        """The checkpoint that rank 0 has found, on this disk; its node may be another."""
        mine = self._folder / path.name
        if self._copies is not None and not mine.exists():
            self._copies.bring(mine)
        return path if self._copies is None else mine

    def keep(self, path: Path) -> None:
        """Copy one that has been written.

        Raises:
            TrainingError: It cannot be copied.
        """
        if self._copies is not None:
            self._copies.keep(path)
            self._elsewhere.add(path.name)

    def drop(self, paths: Iterable[Path]) -> None:
        """Remove the copies of some."""
        for path in paths:
            if self._copies is not None and path.name in self._elsewhere:
                self._copies.drop(path)
                self._elsewhere.discard(path.name)

    def add_elsewhere(self, found: dict[int, list[Path]]) -> dict[int, list[Path]]:
        """Steps to files of this disk, with those of which there is a copy alone."""
        every = {step: list(paths) for step, paths in found.items()}
        for name in sorted(self._elsewhere):
            paths = every.setdefault(read_step(name) or 0, [])
            if self._folder / name not in paths:
                paths.append(self._folder / name)
        return every
