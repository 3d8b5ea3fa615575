"""Files -> one tree: each file laid over those that it extends."""

import os
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from orchestrator.specs.expand import expand_path
from orchestrator.specs.merge import merge
from orchestrator.specs.mistakes import Mistakes, Position, Source, value_text
from orchestrator.specs.nodes import (
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    parse_map,
    plain_value,
)
from orchestrator.specs.yaml_tree import parse_yaml

_MAX_BYTES = 2**20
_ENDINGS = (".yaml", ".yml")


class SpecReader:
    """Reads a file with all that it extends; none is read twice, however often it is named."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._read: dict[Path, MapNode] = {}

    def read_file(self, shown: str) -> MapNode:
        """Read the file that the user named, with all that it extends.

        Raises:
            SpecError: A file cannot be read, is not YAML, or extends itself.
        """
        path = Path(os.path.normpath(Path.cwd() / shown))
        source = Source(0, shown, path.parent)
        try:
            text = _read_text(path)
        except ValueError as error:
            self._mistakes.refuse(Position(source), str(error))
        return self._parse(text, source, (path,))

    def read_map(self, tree: Mapping[Any, Any]) -> MapNode:
        """Take a Python map; what it extends is relative to the current folder."""
        source = Source(0, "<dict>", Path.cwd(), has_lines=False)
        return self._extend(parse_map(tree, source, self._mistakes), ())

    def _parse(self, text: str, source: Source, chain: tuple[Path, ...]) -> MapNode:
        root = parse_yaml(text, source, self._mistakes)
        if isinstance(root, ScalarNode) and root.value is None:
            self._mistakes.refuse(Position(source), "is empty")
        if not isinstance(root, MapNode):
            shown = value_text(plain_value(root))
            self._mistakes.refuse(root.position, f"must be a map of keys (got {shown})")
        return self._extend(root, chain)

    def _extend(self, tree: MapNode, chain: tuple[Path, ...]) -> MapNode:
        own = MapNode(
            {key: entry for key, entry in tree.entries.items() if key != "extends"},
            tree.position,
        )
        base = MapNode({}, tree.position)
        if "extends" in tree.entries:
            for node in self._list_extended(tree.entries["extends"].node):
                base = merge(base, self._read_extended(node, chain))
        return merge(base, own)

    def _list_extended(self, node: Node) -> list[ScalarNode]:
        named = node.items if isinstance(node, ListNode) else (node,)
        files = []
        for item in named:
            if isinstance(item, ScalarNode) and isinstance(item.value, str):
                files.append(item)
            else:
                shown = value_text(plain_value(item))
                text = f"must be a file or a list of files (got {shown})"
                self._mistakes.add(item.position, text, key="extends")
        return files

    def _read_extended(self, node: ScalarNode, chain: tuple[Path, ...]) -> MapNode:
        nothing = MapNode({}, node.position)
        try:
            path = Path(expand_path(str(node.value), node.position.source.folder))
            _refuse_circle((*chain, path))
            if path not in self._read:
                text = _read_text(path)
                source = Source(len(self._read) + 1, _shown(path), path.parent)
                self._read[path] = nothing  # takes the rank before what this file extends
                self._read[path] = self._parse(text, source, (*chain, path))
        except ValueError as error:
            self._mistakes.add(node.position, f"{error} (got {node.value!r})", key="extends")
            return nothing
        return self._read[path]


def _refuse_circle(chain: tuple[Path, ...]) -> None:
    first = chain.index(chain[-1])
    if first < len(chain) - 1:
        raise ValueError(f"goes round in a circle, {' -> '.join(map(_shown, chain[first:]))}")


def suggest_file(path: Path) -> str:
    """`; did you mean 'digits.yaml'?`, of the files beside one that is not there; or empty."""
    stem = path.stem if path.suffix in _ENDINGS else path.name
    with suppress(OSError):
        files = {file.stem: file for file in path.parent.iterdir() if file.suffix in _ENDINGS}
        for near in get_close_matches(stem, files, n=1):
            return f"; did you mean {_shown(files[near])!r}?"
    return ""


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ValueError(f"no such file{suggest_file(path)}") from error
    except IsADirectoryError as error:
        raise ValueError("is a folder, not a file") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ValueError("is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 text (line {line})") from error


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
