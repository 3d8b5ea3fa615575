"""What a record says of the software and the working copy that made it."""

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.tracking.writing import writing

_PACKAGES = (
    *("orchestrator", "ray", "mlflow", "torch", "torchvision", "numpy", "pillow"),
    *("scikit-learn", "safetensors", "timm"),
)


def describe_software(folder: Path | None = None) -> dict[str, str]:
    """Versions of Python and of the packages that matter, git commit, and whether it was dirty.

    Nothing is imported for it; lanes add what only they know: CUDA, cuDNN, device names.

    Args:
        folder: Whose working copy is named; the current folder where it is left out.
    """
    facts = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _git(folder, "rev-parse", "HEAD")
    if commit:
        facts["git.commit"] = commit
        changes = _git(folder, "status", "--porcelain")
        if changes is not None:
            facts["git.dirty"] = "true" if changes else "false"
    return {**facts, **_describe_hardware()}


def save_changes(folder: Path | None, into: Path) -> dict[str, str]:
    """Keep what a working copy has that no commit has, so that a run can be had again.

    Args:
        folder: Of the working copy; the current one where it is None.
        into: Folder for the file, which is named by its content.

    Returns:
        `git.diff_file` and `git.diff_sha256`; empty where nothing differs or there is no git.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    changes = _ask_git(folder, "diff", "--binary", "HEAD")
    if not changes:
        return {}
    digest = hashlib.sha256(changes).hexdigest()
    path = into / f"uncommitted-{digest[:8]}.diff"
    with writing(path):
        path.write_bytes(changes)
    return {"git.diff_file": path.name, "git.diff_sha256": digest}


def _describe_hardware() -> dict[str, str]:
    """The machine that drives a search; lanes say theirs."""
    model = platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = re.findall(r"^model name\s*:\s*(.+)$", cpus.read_text(), re.MULTILINE)
        model = names[0] if names else model
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cpus": str(os.cpu_count()),
        "memory_gib": f"{pages * size / 2**30:.1f}",
        "system": platform.platform(),
    }


def _git(folder: Path | None, *arguments: str) -> str | None:
    """A line that git says of a folder; None as for `_ask_git`."""
    said = _ask_git(folder, *arguments)
    return None if said is None else said.decode(errors="replace").strip()


def _ask_git(folder: Path | None, *arguments: str) -> bytes | None:
    """What git says of a folder; None where there is no git, no repository, or no answer."""
    try:
        said = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout if said.returncode == 0 else None
