"""The user's own code: `module:callable`, from the folder that travels with a search."""

import importlib
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import TrainingError

_FOLDERS: Final[set[str]] = set()
"""Folders that own code was imported from, in this process."""
_SEEN: Final[dict[Path, bytes]] = {}
"""Files of theirs, as they were when they were first imported."""


def is_own_code(name: str) -> bool:
    """Whether a name is the user's `module:callable` rather than one of ours."""
    return ":" in name


def load_callable(reference: str, *, key: str, sources: str) -> Callable[..., Any]:
    """Import what a key names.

    Args:
        reference: `module:callable`; both may be dotted.
        key: The YAML key that names it, for messages.
        sources: Folder that is searched before installed packages; empty for none.

    Raises:
        TrainingError: There is no such module or callable, or the module does not import.
    """
    module_name, _, path = reference.partition(":")
    if sources:
        _look_in(sources)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise TrainingError(
            f"{key}: {module_name} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    if sources:
        _remember(sources)
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(found) if not name.startswith("_")]
            near = get_close_matches(part, names, n=1)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise TrainingError(f"{key}: {module_name} has no {path!r}{advice}")
        found = getattr(found, part)
    if not callable(found):
        raise TrainingError(f"{key}: {reference} is not callable ({type(found).__name__})")
    loaded: Callable[..., Any] = found
    return loaded


def _look_in(folder: str) -> None:
    """Let imports find a folder's modules first, as they are now.

    Python keeps what it has imported under its name: another experiment's module of the same
    name, or this one as it was before it was edited, would be trained in silence.
    """
    homes = {name: _home_of(file) for name, file in _files().items()}
    edited = any(
        _SEEN.get(file, content) != content
        for name, file in _files().items()
        if homes[name] == folder
        for content in [file.read_bytes() if file.is_file() else b""]
    )
    for name, file in _files().items():
        home = homes[name]
        if home is None or (home == folder and not edited):
            continue
        if home == folder or (Path(folder) / file.relative_to(home)).is_file():
            _SEEN.pop(file, None)
            del sys.modules[name]
    sys.path[:] = [folder, *(place for place in sys.path if place not in _FOLDERS | {folder})]
    _FOLDERS.add(folder)
    importlib.invalidate_caches()


def _remember(folder: str) -> None:
    """Note the files of a folder as they were imported."""
    for file in _files().values():
        if _home_of(file) == folder and file.is_file():
            _SEEN.setdefault(file, file.read_bytes())


def _files() -> dict[str, Path]:
    """Files of everything that is imported and was not installed."""
    return {
        name: Path(file)
        for name, module in list(sys.modules.items())
        if isinstance(file := getattr(module, "__file__", None), str)
        and "site-packages" not in file
    }


def _home_of(file: Path) -> str | None:
    """The innermost of the known folders that a file lies in."""
    return max(
        (known for known in _FOLDERS if file.is_relative_to(known)), default=None, key=len
    )
