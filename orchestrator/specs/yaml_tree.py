"""YAML text -> a tree in which every node knows where it was written.

YAML 1.2's core types, so that `1e-3` is a number and `no` is a word. Tags are refused, and with
them every road from a text to code; what aliases unfold to is counted without unfolding it.
"""

import re
from typing import Protocol

import yaml

from orchestrator.specs.mistakes import Mistakes, Position, Source, value_text
from orchestrator.specs.nodes import (
    Entry,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    plain_value,
)
from orchestrator.specs.search import Scalar

_MAX_NODES = 100_000
_MAX_DEPTH = 50
_MAX_DIGITS = 1000
TEXT_TAG = "tag:yaml.org,2002:str"
_CORE_TYPES = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}


def core_tag(text: str) -> str:
    """Return the tag that YAML 1.2's core schema gives to an unquoted scalar."""
    for kind, pattern in _CORE_TYPES.items():
        if re.fullmatch(pattern, text):
            return f"tag:yaml.org,2002:{kind}"
    return TEXT_TAG


def parse_yaml(text: str, source: Source, mistakes: Mistakes) -> Node:
    """Parse one YAML document; an empty one is a null.

    Raises:
        SpecError: The text is not YAML, or more than a spec can be.
    """
    try:
        root = _compose(text)
    except _RefusedError as error:
        mistakes.add(_position(error.mark, source), str(error))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.add(_position(mark, source), f"not YAML: {error.problem or error.context}")
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        place = source.at(len(before), len(before[-1]) + 1)
        mistakes.add(place, "not YAML: holds a character that cannot be printed")
    mistakes.raise_any()
    if root is None:
        return ScalarNode(None, source.at(1, 1))
    return _convert(root, source, mistakes)


class _Mark(Protocol):
    line: int
    column: int


class _RefusedError(Exception):
    """YAML, but not what a spec may hold; the text is the message."""

    def __init__(self, text: str, event: yaml.Event) -> None:
        super().__init__(text)
        self.mark = event.start_mark


class _Loader(yaml.SafeLoader):
    """Composes nodes of YAML 1.2's core types, and bounds what they unfold to."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, tuple[int, int]] = {}
        self._nesting = 0

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        """Name the core type of a plain scalar; a quoted one is text."""
        if kind is not yaml.ScalarNode:
            return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
        return core_tag(value) if implicit[0] else TEXT_TAG

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None and not isinstance(event, yaml.AliasEvent):
            raise _RefusedError(f"tags are not allowed (got {tag!r})", event)
        self._nesting += 1
        if self._nesting > _MAX_DEPTH:
            raise _RefusedError(f"nested more than {_MAX_DEPTH} deep", event)
        node = super().compose_node(parent, index)
        self._nesting -= 1
        self._measure(node, event)
        return node

    def _measure(self, node: yaml.Node | None, event: yaml.Event) -> None:
        if id(node) in self._sizes:
            return
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError("an alias stands inside of what it repeats", event)
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        measured = [self._sizes[id(child)] for child in children]
        size = 1 + sum(size for size, _ in measured)
        depth = 1 + max((depth for _, depth in measured), default=0)
        # A list knows its size only at its end; what was read so far need not wait for it.
        if size > _MAX_NODES or len(self._sizes) > _MAX_NODES:
            raise _RefusedError(f"unfolds to more than {_MAX_NODES:,} values", event)
        if depth > _MAX_DEPTH:
            raise _RefusedError(f"nested more than {_MAX_DEPTH} deep", event)
        self._sizes[id(node)] = (size, depth)


def _position(mark: _Mark | None, source: Source) -> Position:
    return Position(source) if mark is None else source.at(mark.line + 1, mark.column + 1)


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _convert(node: yaml.Node, source: Source, mistakes: Mistakes) -> Node:
    place = _position(node.start_mark, source)
    if isinstance(node, yaml.MappingNode):
        return MapNode(_convert_entries(node, source, mistakes), place)
    if isinstance(node, yaml.SequenceNode):
        return ListNode(tuple(_convert(item, source, mistakes) for item in node.value), place)
    return ScalarNode(_convert_scalar(node), place)


def _convert_entries(
    node: yaml.MappingNode, source: Source, mistakes: Mistakes
) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        place = _position(key_node.start_mark, source)
        key = key_node.value
        if key_node.tag != TEXT_TAG:
            shown = value_text(plain_value(_convert(key_node, source, mistakes)))
            mistakes.add(place, f"keys are words (got {shown})")
        elif key == "<<" and key_node.style is None:
            mistakes.add(place, "merge keys are not supported; use 'extends'")
        elif key in entries:
            first = entries[key].position
            where = f" on line {first.line}" if first.line else ""
            mistakes.add(place, f"key {key!r} is already set{where}")
        else:
            entries[key] = Entry(_convert(value_node, source, mistakes), place)
    return entries


def _convert_scalar(node: yaml.Node) -> Scalar:
    text: str = node.value
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and text[:2] in ("0o", "0x"):
        return int(text, 0)
    # Python refuses to read thousands of digits; as a float they are infinite, and refused.
    if kind == "int" and len(text) < _MAX_DIGITS:
        return int(text)
    if kind in ("int", "float"):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
