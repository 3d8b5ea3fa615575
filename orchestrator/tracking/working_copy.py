"""The working copy that trained: its commit, and what it has that no commit has."""

import hashlib
import os
import subprocess
from itertools import islice
from pathlib import Path
from typing import Final

from orchestrator.tracking.writing import writing

_LARGEST: Final = 64 * 2**10
_MOST: Final = 100
_LOOKED_AT: Final = 8000
"""Bytes without a zero among them make a text, as git has it."""
_OPENED: Final = 2000
"""New files that are looked into at all: on a network's disk each takes its time."""
_DIFF: Final = (
    "diff",
    "--binary",
    # What the user has set for the eye, a patch cannot have.
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)


def describe_commit(folder: Path | None) -> dict[str, str]:
    """`git.root`, `git.commit` and `git.dirty`; empty where there is no git.

    Args:
        folder: Of the working copy; the current one where it is None.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _git(folder, "status", "--porcelain")
    dirty = {} if changes is None else {"git.dirty": "true" if changes else "false"}
    return {
        "git.root": _git(folder, "rev-parse", "--show-toplevel") or "",
        "git.commit": commit,
        **dirty,
    }


def save_changes(folder: Path | None, into: Path, *, storage: Path) -> dict[str, str]:
    """Keep what a working copy has that no commit has, so that a run can be had again.

    That is what differs from the commit, and new files that are not ignored: small texts only,
    since data and weights may lie there.

    Args:
        folder: Of the working copy; the current one where it is None.
        into: Folder for the file, which is named by its content.
        storage: Folder of all experiments; nothing in it is part of the working copy.

    Returns:
        `git.diff_file` and `git.diff_sha256`, and `git.untracked`, which of the new files they
        hold; empty where nothing differs or there is no git.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    root = _git(folder, "rev-parse", "--show-toplevel")
    tracked = _ask_git(folder, *_DIFF, "HEAD")
    if root is None or tracked is None:
        return {}
    new, facts = _add_untracked(Path(root), storage)
    changes = tracked + new
    if not changes:
        return facts
    digest = hashlib.sha256(changes).hexdigest()
    path = into / f"uncommitted-{digest[:8]}.diff"
    with writing(path):
        path.write_bytes(changes)
    return {"git.diff_file": path.name, "git.diff_sha256": digest, **facts}


def _add_untracked(root: Path, storage: Path) -> tuple[bytes, dict[str, str]]:
    """New files as one patch, and how many there are; the index is not touched for it."""
    listed = _ask_git(root, "ls-files", "--others", "--exclude-standard", "-z") or b""
    names = [name.decode(errors="surrogateescape") for name in listed.split(b"\0") if name]
    inside = os.path.relpath(os.path.realpath(storage), os.path.realpath(root))
    # Records may lie elsewhere too: a quick try has a storage of its own.
    searches = [os.path.dirname(name) for name in names if name.endswith("/journal.jsonl")]  # noqa: PTH120
    apart = tuple(f"{folder}/" for folder in (inside, *searches))
    mine = [name for name in names if not name.startswith(apart)]
    texts = (name for name in mine[:_OPENED] if _is_small_text(root / name))
    small = list(islice(texts, _MOST))
    if not mine:
        return b"", {}
    patches = [
        # Status 1 says that they differ.
        _ask_git(root, *_DIFF, "--no-index", "--", "/dev/null", name, good=(0, 1)) or b""
        for name in small
    ]
    limits = f"texts of {_LARGEST // 2**10} KiB at most, {_MOST} in all"
    return b"".join(patches), {"git.untracked": f"{len(small)} of {len(mine)} ({limits})"}


def _is_small_text(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        with path.open("rb") as file:
            return b"\0" not in file.read(_LOOKED_AT)
    except OSError:
        return False


def _git(folder: Path | None, *arguments: str) -> str | None:
    """A line that git says of a folder; None as for `_ask_git`."""
    said = _ask_git(folder, *arguments)
    return None if said is None else said.decode(errors="replace").strip()


def _ask_git(
    folder: Path | None, *arguments: str, good: tuple[int, ...] = (0,)
) -> bytes | None:
    """What git says of a folder; None where there is no git, no repository, or no answer."""
    try:
        said = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout if said.returncode in good else None
