"""Several trees become one, each node keeping its own place: what `extends` and overrides do.

Maps merge; lists, values, search spaces and empty maps replace what was there.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from orchestrator.specs.mistakes import Mistakes, Position, Source
from orchestrator.specs.nodes import Entry, MapNode, Node
from orchestrator.specs.vocabulary import SPACE_WORDS
from orchestrator.specs.yaml_tree import parse_yaml

# Overrides come last in a list of mistakes, after any number of files.
_FIRST_OVERRIDE = 1_000_000
_OVERRIDE = re.compile(r"([^\s=.]+(?:\.[^\s=.]+)*)=(.*)", re.DOTALL)


def merge(base: MapNode, top: MapNode) -> MapNode:
    """Lay one map over another."""
    entries = dict(base.entries)
    for key, entry in top.entries.items():
        below = base.entries.get(key)
        node = entry.node
        if below is not None and _merges(below.node) and _merges(node) and node.entries:
            node = merge(below.node, node)
        entries[key] = Entry(node, entry.position)
    return MapNode(entries, top.position)


def is_override(position: Position) -> bool:
    """Say whether something was written on the command line and not in a file."""
    return position.source.rank >= _FIRST_OVERRIDE


def parse_overrides(overrides: Sequence[str], mistakes: Mistakes) -> list[MapNode]:
    """Parse `key.sub=value`, the value as YAML; paths are relative to the current folder.

    Raises:
        SpecError: A value is not YAML.
    """
    folder = Path.cwd()
    parsed = []
    for number, text in enumerate(overrides):
        source = Source(_FIRST_OVERRIDE + number, f"override {text!r}", folder, has_lines=False)
        match = _OVERRIDE.fullmatch(text)
        if match is None:
            mistakes.add(Position(source), "must look like key.sub=value")
        elif match[1] == "extends":
            mistakes.add(
                Position(source), "stands in a file, not in an override", key="extends"
            )
        else:
            parsed.append(_nest(match[1], parse_yaml(match[2], source, mistakes), source))
    return parsed


def _merges(node: Node) -> TypeGuard[MapNode]:
    return isinstance(node, MapNode) and not any(word in SPACE_WORDS for word in node.entries)


def _nest(key: str, node: Node, source: Source) -> MapNode:
    place = Position(source)
    for part in reversed(key.split(".")):
        node = MapNode({part: Entry(node, place)}, place)
    assert isinstance(node, MapNode)
    return node
