"""Fingerprints: two runs of one fingerprint train the same numbers.

A digest of the plan's numbers, of the source that trains them, and of the versions of the
libraries that compute them. Paths, devices' ids, names of runs and everything that only says
where something lies are left out.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestrator.planning.run_plan import Numbers

_PACKAGE: Final = Path(__file__).parents[1]
_LIBRARIES: Final = ("torch", "torchvision", "numpy", "pillow")
PLANNING: Final = (
    "manifest.py",
    "plain.py",
    "run_plan.py",
    "section_plans.py",
    "splits.py",
    "table.py",
)
_CUDA: Final = re.compile(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", re.MULTILINE)


def fingerprint_run(
    numbers: Numbers, *, select: str, metric: str, maximize: bool, data_root: str
) -> tuple[str, str]:
    """The fingerprint of a run, and its lineage: that of its like of any number of epochs.

    Args:
        numbers: All that can change a weight.
        select: Which epoch counts.
        metric: What decides it, under `best`.
        maximize: Whether more of it is better.
        data_root: Folder of the data set; empty where it needs none.

    Returns:
        64 hexadecimal digits each.
    """
    # Of data without a manifest only the place is known.
    where = "" if numbers.data.manifest else data_root
    counted = [where, select, metric, maximize] if select == "best" else [where, select]
    environment = environment_of(numbers)
    plain = _without_paths(asdict(numbers))
    endless = {**plain, "training": {**plain["training"], "epochs": 0}}
    first, second = (
        hashlib.sha256(
            json.dumps([part, counted, environment], sort_keys=True).encode()
        ).hexdigest()
        for part in (plain, endless)
    )
    return first, second


@lru_cache(maxsize=1)
def describe_environment() -> Mapping[str, str]:
    """What computes a run: versions and a digest of our source, without importing any of it."""
    return {**_versions(), "source": _digest_source()}


def environment_of(*runs: Numbers) -> dict[str, str]:
    """The same for certain runs: with timm's version where a network is one of timm's."""
    if any(numbers.model.architecture.startswith("timm/") for numbers in runs):
        return {**describe_environment(), "timm": _version("timm")}
    return dict(describe_environment())


def _versions() -> dict[str, str]:
    return {**{name: _version(name) for name in _LIBRARIES}, "cuda": _cuda_version()}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _cuda_version() -> str:
    """Of the CUDA that torch was built with; empty for a build without."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    path = Path(spec.origin).with_name("version.py")
    found = _CUDA.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found[1] if found else ""


def _digest_source() -> str:
    digest = hashlib.sha256()
    for path in _training_files():
        content = path.read_bytes()
        name = path.relative_to(_PACKAGE).as_posix()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _training_files() -> Iterator[Path]:
    """Our files that training consists of, its embedded data among them."""
    yield from sorted(
        path
        for path in (_PACKAGE / "training").rglob("*")
        if path.is_file() and path.suffix in (".py", ".npz")
    )
    # Those of planning that training imports; a test holds it.
    for name in PLANNING:
        yield _PACKAGE / "planning" / name


def _without_paths(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers without where something lies: a file is what is in it."""
    model = dict(numbers["model"])
    if model["weights"] is not None and model["weights"]["sha256"]:
        model["weights"] = {**model["weights"], "source": ""}
    model["rules"] = [{**rule, "file": ""} for rule in model["rules"]]
    return {**numbers, "model": model}
