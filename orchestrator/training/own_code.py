"""The user's own code: `module:callable`, from the folder that travels with a search."""

import importlib
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from orchestrator.errors import TrainingError


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
    if sources and sources not in sys.path:
        sys.path.insert(0, sources)
        importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise TrainingError(
            f"{key}: {module_name} cannot be imported ({type(error).__name__}: {error})"
        ) from error
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
