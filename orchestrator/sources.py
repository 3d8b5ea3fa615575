"""The user's own code: found beside the experiment, digested, and copied to where it runs."""

import ast
import hashlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.search import corners
from orchestrator.specs.section import OWN_CODE
from orchestrator.specs.transforms import parse_steps

_PACKAGE: Final = Path(__file__).parent
_COUNTED: Final = frozenset(("numpy", "orchestrator", "PIL", "torch", "torchvision"))
"""Packages whose code counts by their versions, or by a digest of its own."""


def _references(spec: ExperimentSpec) -> Iterator[tuple[str, str]]:
    """The user's own callables: key, and `module:callable`."""
    keys = spec.keys
    for key, value in (
        ("data.dataset", keys.data.dataset),
        ("model.architecture", keys.model.architecture),
        ("loss.name", keys.loss.name),
        ("data.transforms", keys.data.transforms),
    ):
        for name in list_values(spec, key, value):
            if isinstance(name, str) and OWN_CODE.fullmatch(name):
                yield key, name
    for key, steps in (
        ("data.transforms", keys.data.transforms),
        ("data.eval_transforms", keys.data.eval_transforms),
    ):
        if isinstance(steps, list):
            for name, _ in parse_steps(steps):
                if OWN_CODE.fullmatch(name):
                    yield key, name


def find_import_root(spec: ExperimentSpec) -> Path:
    """The folder that own modules are imported from: the first that holds them all.

    Looked at are the folders of the files that name them, the experiment's, the current one.

    Raises:
        SpecError: They lie in several folders.
    """
    beside, here = Path(spec.source).absolute().parent, Path.cwd()
    references = list(_references(spec))
    naming = [spec.folders.get(key, beside).absolute() for key, _ in references]
    # An override's folder is the current one, which comes last.
    folders = list(dict.fromkeys([*(f for f in naming if f != here), beside, here]))
    homes = {}
    for key, reference in references:
        top = reference.partition(":")[0].partition(".")[0]
        held = [folder for folder in folders if _holds(folder, top)]
        if held:  # Else it is an installed one.
            homes[top] = (key, held)
    for folder in folders:
        if all(folder in held for _, held in homes.values()):
            return folder
    where = ", ".join(f"{top} in {held[0]}" for top, (_, held) in homes.items())
    key = next(iter(homes.values()))[0]
    text = f"one's own modules must lie in one folder (found {where})"
    raise SpecError([f"{spec.place_of(key)}: {key}: {text}"])


def _holds(folder: Path, top: str) -> bool:
    return (folder / f"{top}.py").is_file() or (folder / top).is_dir()


def find_sources(spec: ExperimentSpec) -> dict[str, Path]:
    """Import the user's own code; its files, and those of their own that they import."""
    references = list(_references(spec))
    if not references:
        return {}
    from orchestrator.training.own_code import load_callable

    root = find_import_root(spec)
    for key, reference in references:
        try:
            load_callable(reference, key=key, sources=str(root))
        except OrchestratorError as error:
            raise SpecError([f"{spec.place_of(key)}: {error}"]) from error
    found = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py"):
            path = Path(file)
            installed = "site-packages" in path.parts or path.is_relative_to(_PACKAGE)
            if path.is_relative_to(root) and not installed:
                found[path.relative_to(root).as_posix()] = path
    _add_later_imports(found, root)
    return {name: found[name] for name in sorted(found)}


def trace_sources(spec: ExperimentSpec) -> dict[str, Path]:
    """The same, as far as the text of the files tells: nothing is imported."""
    tops = {name.partition(":")[0].partition(".")[0] for _, name in _references(spec)}
    if not tops:
        return {}
    root = find_import_root(spec)
    found: dict[str, Path] = {}
    for top in sorted(tops):
        module = root / f"{top}.py"
        inside = sorted((root / top).rglob("*.py")) if (root / top).is_dir() else []
        for path in [module, *inside] if module.is_file() else inside:
            found[path.relative_to(root).as_posix()] = path
    _add_later_imports(found, root)
    return {name: found[name] for name in sorted(found)}


def digest_installed(spec: ExperimentSpec, sources: Mapping[str, Path]) -> dict[str, str]:
    """Installed packages that a spec names, to what is in them: they count and do not travel.

    Such as one on PYTHONPATH, or one that was installed to be edited.

    Args:
        spec: The experiment.
        sources: What `find_sources` has found of it.
    """
    tops = {name.partition(":")[0].partition(".")[0] for _, name in _references(spec)}
    tops -= _COUNTED | {Path(name).parts[0].removesuffix(".py") for name in sources}
    return {top: digest_package(top) for top in sorted(tops)}


def digest_package(name: str) -> str:
    """SHA-256 over all Python files of an installed package, whether imported yet or not.

    Empty where there is none, or it is not made of Python files.
    """
    try:
        found = find_spec(name)
    except ValueError:
        found = None
    if found is None:
        return ""
    files = {}
    for place in found.submodule_search_locations or ():
        for path in Path(place).rglob("*.py"):
            files[path.relative_to(place).as_posix()] = path
    if not files and found.origin is not None and found.origin.endswith(".py"):
        files[f"{name}.py"] = Path(found.origin)
    return digest_sources({key: files[key] for key in sorted(files)})


def _add_later_imports(found: dict[str, Path], root: Path) -> None:
    """Add what the files import, at once or only when they are called, and so on."""
    waiting = list(found.values())
    while waiting:
        for name in _imported_names(waiting.pop()):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                base = root.joinpath(*parts[:depth])
                for path in (base.with_suffix(".py"), base / "__init__.py"):
                    key = path.relative_to(root).as_posix()
                    if path.is_file() and key not in found:
                        found[key] = path
                        waiting.append(path)


def _imported_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def digest_sources(sources: Mapping[str, Path]) -> str:
    """SHA-256 over the names and contents of the user's own files; empty for none."""
    if not sources:
        return ""
    digest = hashlib.sha256()
    for name, path in sources.items():
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def copy_sources(sources: Mapping[str, Path], folder: Path) -> None:
    """Copy the user's own files to where the workers import them from."""
    for name, path in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def list_values(spec: ExperimentSpec, key: str, value: object) -> list[object]:
    """Every value that a key takes in a search, or its one value."""
    return list(corners(spec.spaces[key])) if key in spec.spaces else [value]
