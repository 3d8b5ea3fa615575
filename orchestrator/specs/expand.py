"""`~` and `${VAR}` in paths; what a path is relative to is where it was written.

Only keys that hold a path or an address are expanded: a dollar in a description stays one.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\}|(\w*))")


def expand_variables(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Replace `${VAR}` and `${VAR:-x}`; `x` also stands in for an empty variable, `$$` is `$`.

    Raises:
        ValueError: A variable is not set, or a dollar begins nothing.
    """

    def replacement(match: re.Match[str]) -> str:
        dollar, name, fallback, bare = match.groups()
        if dollar:
            return "$"
        if name is None:
            wanted = f"${{{bare}}}" if bare else "${NAME}"
            raise ValueError(f"variables are written {wanted}, a dollar $$")
        value = environment.get(name, "")
        if fallback is not None:
            return value or fallback
        if not value:
            raise ValueError(f"the environment variable {name} is not set")
        return value

    return _VARIABLE.sub(replacement, text)


def expand_path(text: str, folder: Path) -> str:
    """Return an absolute path: variables and `~` expanded, the rest relative to `folder`.

    Raises:
        ValueError: As for `expand_variables`; or nothing is left, or there is no such home.
    """
    expanded = expand_variables(text)
    if not expanded:
        raise ValueError("is empty; name a path")
    if "://" in expanded:
        return expanded
    try:
        path = Path(expanded).expanduser()
    except RuntimeError as error:
        raise ValueError(f"no home folder for {expanded.split('/')[0]!r}") from error
    # normpath and not resolve: a link may lead elsewhere on another node.
    return os.path.normpath(folder.absolute() / path)


def expand_store(text: str, folder: Path) -> str:
    """Return the address of a store, its file made absolute as `expand_path` does.

    Raises:
        ValueError: As for `expand_path`.
    """
    expanded = expand_variables(text)
    prefix = "sqlite:///"
    if not expanded.startswith(prefix):
        return expanded
    return prefix + expand_path(expanded.removeprefix(prefix), folder)


def expand_weights(text: str, folder: Path) -> str:
    """Return where weights come from: a file's path made absolute, another name as it is.

    Raises:
        ValueError: As for `expand_path`.
    """
    is_file = text.lower().endswith((".safetensors", ".pth", ".pt", ".bin", ".ckpt"))
    return expand_path(text, folder) if is_file else text
