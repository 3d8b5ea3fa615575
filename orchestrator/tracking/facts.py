"""What a record says of the software and the machine that made it."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.tracking.working_copy import describe_commit

PACKAGES = (
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
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**facts, **describe_commit(folder), **_describe_hardware()}


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
