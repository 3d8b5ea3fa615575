"""What a record says of the software and the working copy that made it."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("orchestrator", "ray", "mlflow", "torch", "torchvision")


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
    return facts


def _git(folder: Path | None, *arguments: str) -> str | None:
    """What git says of a folder; None where there is no git, no repository, or no answer."""
    try:
        said = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() if said.returncode == 0 else None
