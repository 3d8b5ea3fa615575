"""The tree that a spec is read into: every node knows where it was written.

A Python map becomes the same tree, so that everything after this is one road.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.specs.mistakes import Mistakes, Position, Source, value_text
from orchestrator.specs.search import Scalar


@dataclass(frozen=True)
class ScalarNode:
    """A single value."""

    value: Scalar
    position: Position


@dataclass(frozen=True)
class ListNode:
    """A list of nodes."""

    items: tuple["Node", ...]
    position: Position


@dataclass(frozen=True)
class Entry:
    """A key's value, and where the key was written."""

    node: "Node"
    position: Position


@dataclass(frozen=True)
class MapNode:
    """A map from keys to nodes."""

    entries: Mapping[str, Entry]
    position: Position


Node = ScalarNode | ListNode | MapNode


def plain_value(node: Node) -> object:
    """Return a node as plain Python values."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [plain_value(item) for item in node.items]
    return {key: plain_value(entry.node) for key, entry in node.entries.items()}


def list_parts(node: Node, key: str) -> Iterator[tuple[str, Position]]:
    """Yield the dotted names of what a node holds, list items by their index, with places."""
    if isinstance(node, MapNode):
        for word, entry in node.entries.items():
            yield f"{key}.{word}", entry.position
            yield from list_parts(entry.node, f"{key}.{word}")
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield f"{key}.{index}", item.position
            yield from list_parts(item, f"{key}.{index}")


def list_infinite(node: Node) -> Iterator[ScalarNode]:
    """Yield what is no finite number, wherever it stands in a node."""
    if isinstance(node, ScalarNode):
        if isinstance(node.value, float) and not math.isfinite(node.value):
            yield node
        return
    inner = (
        node.items if isinstance(node, ListNode) else [e.node for e in node.entries.values()]
    )
    for part in inner:
        yield from list_infinite(part)


def map_texts(node: Node, change: Callable[[str, Path], str]) -> Node:
    """Return a list with its texts changed; each is given the folder that it was written in."""
    if not isinstance(node, ListNode):
        return node
    items = [
        ScalarNode(change(item.value, item.position.source.folder), item.position)
        if isinstance(item, ScalarNode) and isinstance(item.value, str)
        else item
        for item in node.items
    ]
    return ListNode(tuple(items), node.position)


def parse_map(tree: Mapping[Any, Any], source: Source, mistakes: Mistakes) -> MapNode:
    """Take a Python map as if it had been written as YAML.

    Raises:
        SpecError: It holds what no YAML could.
    """
    root = _parse_entries(tree, source, mistakes, "")
    mistakes.raise_any()
    return root


def _parse_entries(
    tree: Mapping[Any, Any], source: Source, mistakes: Mistakes, prefix: str
) -> MapNode:
    entries = {}
    for key, value in tree.items():
        if isinstance(key, str):
            node = _parse_value(value, source, mistakes, prefix + key)
            entries[key] = Entry(node, Position(source))
        else:
            mistakes.add(Position(source), f"keys are words (got {value_text(key)})")
    return MapNode(entries, Position(source))


def _parse_value(value: object, source: Source, mistakes: Mistakes, key: str) -> Node:
    place = Position(source)
    if isinstance(value, Mapping):
        return _parse_entries(value, source, mistakes, f"{key}.")
    if isinstance(value, list | tuple):
        items = (_parse_value(item, source, mistakes, key) for item in value)
        return ListNode(tuple(items), place)
    if isinstance(value, Path):
        return ScalarNode(str(value), place)
    if value is None or isinstance(value, str | int | float):
        return ScalarNode(value, place)
    kind = type(value).__name__
    mistakes.add(
        place, f"must be text, a number, true, false, a list or a map (got {kind})", key=key
    )
    return ScalarNode(None, place)
