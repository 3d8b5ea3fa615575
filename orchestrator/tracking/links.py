"""A run whose results are another's: its folder is a link into the search that trained it."""

import os
import shutil
from pathlib import Path
from typing import Final
from uuid import uuid4

from orchestrator.tracking.writing import writing

_ASIDE: Final = ".before-"


def link_run(link: Path, target: Path) -> None:
    """Make the folder of a run a link to another's.

    What an interrupted attempt has left there goes: all that it could have come to is in the
    other. It is moved aside first, so that it counts for no result whenever this is killed.

    Args:
        link: The run's folder, which may be there.
        target: Folder of a finished run of the same numbers.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    with writing(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            link.rename(link.with_name(f"{link.name}{_ASIDE}{uuid4().hex[:8]}"))
        link.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()))
        for aside in list(link.parent.iterdir()):
            if aside.name.startswith(f"{link.name}{_ASIDE}"):
                _remove(aside)


def unlink_lost(folder: Path) -> None:
    """Remove a link to a run that was deleted since, so that the run can be trained there."""
    if folder.is_symlink() and not folder.exists():
        folder.unlink()


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)
