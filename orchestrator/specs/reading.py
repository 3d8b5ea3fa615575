"""A tree held against the models: unknown keys answered, search spaces and paths taken out."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from orchestrator.specs.expand import expand_path, expand_store, expand_weights
from orchestrator.specs.experiment import Keys
from orchestrator.specs.fields import kind_of, list_fields, list_sections, section_of
from orchestrator.specs.mistakes import Mistakes, Position, value_text
from orchestrator.specs.nodes import (
    Entry,
    MapNode,
    Node,
    ScalarNode,
    list_infinite,
    list_parts,
    map_texts,
    plain_value,
)
from orchestrator.specs.search import Scalar, why_fixed
from orchestrator.specs.section import Section
from orchestrator.specs.vocabulary import (
    explain_unknown_key,
    explain_wrong_space,
    is_space_map,
)

_PATHS: dict[str, Callable[[str, Path], str]] = {
    "data.root": expand_path,
    "model.weights": expand_weights,
    "storage_path": expand_path,
    "tracking.uri": expand_store,
}


@dataclass
class Reading:
    """What a tree says, key by key."""

    values: dict[str, Any] = field(default_factory=dict)
    """Nested plain values, without the search spaces."""
    written: dict[str, Any] = field(default_factory=dict)
    """The same with the search spaces, and with servers' addresses as they were written."""
    spaces: dict[str, tuple[str, Node]] = field(default_factory=dict)
    """Dotted key to the word of its search space and what stands under it, in file order."""
    baseline: dict[str, Scalar] | None = None
    """Key `search.baseline`, its names as they were written; not among the values."""
    positions: dict[str, Position] = field(default_factory=dict)
    """Dotted key to where its value stands; for a map of keys, to where its own key stands."""
    broken: set[str] = field(default_factory=set)
    """Keys of which a mistake is known already."""
    meant: set[str] = field(default_factory=set)
    """Keys that unknown words probably stand for, hence not missing."""
    lost_space: bool = False
    """Whether a mistake may have cost a space; then `search` is not judged by the others."""

    def place_of(self, key: str) -> Position:
        """Return where a key stands, or else the section that it would stand in."""
        while key not in self.positions:
            key = key.rpartition(".")[0]
        return self.positions[key]

    def is_broken(self, key: str) -> bool:
        """Say whether a mistake of this key, or of a section around it, is known already."""
        if key in self.meant and key not in self.positions:
            return True
        return any(key == known or key.startswith(f"{known}.") for known in self.broken)

    def put(self, key: str, value: object, *, written: object = None) -> None:
        """Set a dotted key's value, and what the records show if that is something else."""
        put_value(self.values, key, value)
        # A copy: a search space will stand in the one, its first value in the other.
        put_value(self.written, key, deepcopy(value) if written is None else written)


def put_value(tree: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key in nested maps."""
    section, _, rest = key.partition(".")
    if rest:
        put_value(tree.setdefault(section, {}), rest, value)
    else:
        tree[section] = value


def known_keys() -> tuple[str, ...]:
    """List every key, dotted, sections too."""
    return (*list_fields(Keys), *list_sections(Keys))


def read_tree(tree: MapNode, mistakes: Mistakes) -> Reading:
    """Take a tree apart; what does not fit the models is a mistake and left out."""
    reading = Reading(positions={"": tree.position})
    for key, known in Keys.model_fields.items():
        # An absent section must not hide which of its keys are required.
        if known.is_required() and section_of(known):
            reading.values[key] = {}
    _TreeReader(reading, mistakes).read_section(tree, Keys, "")
    return reading


class _TreeReader:
    def __init__(self, reading: Reading, mistakes: Mistakes) -> None:
        self._reading = reading
        self._mistakes = mistakes

    def read_section(self, tree: MapNode, model: type[Section], prefix: str) -> None:
        for word, entry in tree.entries.items():
            key = prefix + word
            known = model.model_fields.get(word)
            if known is None:
                text, meant = explain_unknown_key(key, known_keys())
                self._refuse(entry.position, text, key)
                self._reading.meant.add(meant)
                self._reading.lost_space |= isinstance(entry.node, MapNode)
            elif section := section_of(known):
                self._reading.positions[key] = entry.position
                self._read_subsection(entry.node, section, key, optional=known.default is None)
            else:
                self._read_value(entry, known, key)

    def _refuse(self, position: Position, text: str, key: str) -> None:
        self._mistakes.add(position, text, key=key)
        self._reading.broken.add(key)

    def _read_subsection(
        self, node: Node, section: type[Section], key: str, *, optional: bool
    ) -> None:
        if isinstance(node, MapNode):
            if optional:
                self._reading.put(key, {})
            self.read_section(node, section, f"{key}.")
        elif plain_value(node) is not None:
            shown = value_text(plain_value(node))
            self._refuse(node.position, f"must be a map of keys (got {shown})", key)

    def _read_value(self, entry: Entry, known: FieldInfo, key: str) -> None:
        node = entry.node
        self._reading.positions[key] = node.position
        kind = kind_of(known)
        if key == "search.baseline":
            self._reading.positions[key] = entry.position
            self._read_baseline(node, key)
        elif kind == "map":
            self._reading.positions[key] = entry.position
            self._read_arguments(node, key)
        elif kind in ("list", "any") and not _is_space(node):
            self._read_structure(node, key)
        elif isinstance(node, MapNode):
            self._read_space(node, key)
        elif key in _PATHS and isinstance(node, ScalarNode) and isinstance(node.value, str):
            self._read_path(node.value, node.position, key)
        else:
            self._reading.put(key, plain_value(node))

    def _read_arguments(self, node: Node, key: str) -> None:
        """Read the arguments of a callable: whatever it takes, or search spaces."""
        if not isinstance(node, MapNode):
            shown = value_text(plain_value(node))
            self._refuse(node.position, f"must be a map of arguments (got {shown})", key)
            return
        self._reading.put(key, {})
        for name, entry in node.entries.items():
            argument = f"{key}.{name}"
            self._reading.positions[argument] = entry.node.position
            if _is_space(entry.node):
                assert isinstance(entry.node, MapNode)
                self._read_space(entry.node, argument)
            else:
                self._refuse_infinite(entry.node, argument)
                self._reading.put(argument, plain_value(entry.node))

    def _read_structure(self, node: Node, key: str) -> None:
        """Read a list or a map as it stands, and note where each part of it does."""
        for part, position in list_parts(node, key):
            self._reading.positions[part] = position
        self._refuse_infinite(node, key)
        value = plain_value(node)
        if key == "model.rules" and isinstance(value, list):
            for item in value:
                self._expand_tensor(item, node)
        self._reading.put(key, value)

    def _refuse_infinite(self, node: Node, key: str) -> None:
        for found in list_infinite(node):  # JSON, hence the records, has no such number.
            shown = value_text(found.value)
            self._refuse(found.position, f"must be a finite number (got {shown})", key)

    def _expand_tensor(self, rule: object, node: Node) -> None:
        if isinstance(rule, dict) and isinstance(rule.get("tensor"), str):
            file, colon, name = rule["tensor"].rpartition(":")
            try:
                rule["tensor"] = expand_path(file, node.position.source.folder) + colon + name
            except ValueError as error:
                self._refuse(node.position, f"{error} (got {file!r})", "model.rules")

    def _read_space(self, node: MapNode, key: str) -> None:
        wrong = explain_wrong_space(tuple(node.entries)) or why_fixed(key)
        if wrong:
            self._refuse(node.position, wrong, key)
            self._reading.lost_space = True
            return
        word, entry = next(iter(node.entries.items()))
        under = map_texts(entry.node, _PATHS[key]) if key in _PATHS else entry.node
        self._reading.spaces[key] = (word, under)
        put_value(self._reading.written, key, plain_value(node))

    def _read_path(self, text: str, position: Position, key: str) -> None:
        try:
            expanded = _PATHS[key](text, position.source.folder)
        except ValueError as error:
            self._refuse(position, f"{error} (got {text!r})", key)
            return
        # A server's address may be one user's own: records keep the variable that it is in.
        is_server = key == "tracking.uri" and not expanded.startswith("sqlite:")
        self._reading.put(key, expanded, written=text if is_server else None)

    def _read_baseline(self, node: Node, key: str) -> None:
        if not isinstance(node, MapNode):
            if plain_value(node) is not None:
                shown = value_text(plain_value(node))
                text = f"must be a map from searched keys to values (got {shown})"
                self._refuse(node.position, text, key)
            return
        baseline: dict[str, Scalar] = {}
        for name, item in _flat(node, ""):
            self._reading.positions[f"{key}.{name}"] = item.position
            if isinstance(item, ScalarNode):
                baseline[name] = item.value
            else:
                self._refuse(item.position, "must be a value (got a list)", f"{key}.{name}")
        self._reading.baseline = baseline
        put_value(self._reading.written, key, baseline)


def _flat(node: MapNode, prefix: str) -> Iterator[tuple[str, Node]]:
    """Yield what a map holds under dotted names: `{loss: {name: x}}` is `{loss.name: x}`."""
    for word, entry in node.entries.items():
        if isinstance(entry.node, MapNode):
            yield from _flat(entry.node, f"{prefix}{word}.")
        else:
            yield prefix + word, entry.node


def _is_space(node: Node) -> bool:
    return isinstance(node, MapNode) and is_space_map(node.entries)
