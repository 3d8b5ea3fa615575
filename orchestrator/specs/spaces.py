"""A search space as it was written -> Grid, Choice, Uniform, LogUniform or RandInt."""

from dataclasses import dataclass

from orchestrator.specs.fields import Kind
from orchestrator.specs.mistakes import Position, value_text
from orchestrator.specs.nodes import ListNode, Node, ScalarNode, plain_value
from orchestrator.specs.search import (
    Choice,
    Grid,
    LogUniform,
    RandInt,
    Scalar,
    Space,
    Uniform,
)


@dataclass(frozen=True)
class PlacedSpace:
    """A search space, and its corners as they were written."""

    space: Space
    corners: tuple[ScalarNode, ...]


class SpaceError(Exception):
    """A search space that cannot be; the text is the message."""

    def __init__(self, position: Position, text: str) -> None:
        super().__init__(text)
        self.position = position


def parse_space(word: str, node: Node, kind: Kind) -> PlacedSpace:
    """Parse what stands under the word of a search space.

    Whether its values are in the key's range is not looked at here.

    Raises:
        SpaceError: It has no such values, or none that a key of this kind could take.
    """
    if not isinstance(node, ListNode):
        shown = value_text(plain_value(node))
        raise SpaceError(node.position, f"{word} takes a list (got {shown})")
    for item in node.items:
        if not isinstance(item, ScalarNode):
            shown = value_text(plain_value(item))
            raise SpaceError(item.position, f"must be a single value (got {shown})")
    items = [item for item in node.items if isinstance(item, ScalarNode)]
    parse = _parse_listed if word in ("grid", "choice") else _parse_range
    space = parse(word, items, node.position, kind)
    return PlacedSpace(space, tuple(items))


def _parse_listed(word: str, items: list[ScalarNode], place: Position, kind: Kind) -> Space:
    if not items:
        raise SpaceError(place, f"{word} needs at least one value")
    seen = set()
    for item in items:
        # Python takes True for 1; YAML does not.
        identity = (isinstance(item.value, bool), item.value)
        if identity in seen:
            raise SpaceError(item.position, f"{value_text(item.value)} is in the {word} twice")
        seen.add(identity)
    values = tuple(as_kind(item.value, kind) for item in items)
    return Grid(values) if word == "grid" else Choice(values)


def _parse_range(word: str, items: list[ScalarNode], place: Position, kind: Kind) -> Space:
    if kind not in ("number", "whole", "any"):
        raise SpaceError(place, f"{word} draws numbers; use grid or choice here")
    if kind == "whole" and word != "randint":
        raise SpaceError(place, f"{word} draws fractions; use randint for a whole number")
    if len(items) != 2:
        raise SpaceError(place, f"{word} takes [low, high] (got {len(items)} values)")
    low, high = (_bound(item, word) for item in items)
    if not low < high:
        raise SpaceError(place, f"low must be less than high (got {low} and {high})")
    if word == "randint":
        return RandInt(int(low), int(high))
    if word == "uniform":
        return Uniform(float(low), float(high))
    if low <= 0:
        raise SpaceError(items[0].position, f"must be greater than 0 in loguniform (got {low})")
    return LogUniform(float(low), float(high))


def _bound(item: ScalarNode, word: str) -> float:
    value = item.value
    wanted = "a whole number" if word == "randint" else "a number"
    fits = isinstance(value, int) or (isinstance(value, float) and word != "randint")
    if not fits or isinstance(value, bool):
        raise SpaceError(item.position, f"must be {wanted} (got {value_text(value)})")
    assert isinstance(value, int | float)
    return value


def as_kind(value: Scalar, kind: Kind) -> Scalar:
    """Return a value as the key's model holds it: 0 is 0.0 where fractions are possible."""
    if kind != "number" or isinstance(value, bool) or not isinstance(value, int):
        return value
    # Beyond there is no such float; the range check shows the value as it was written.
    return float(value) if abs(value) < 2**1023 else value
