"""Where a value was written, and the list of mistakes, each with its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from orchestrator.errors import SpecError

_LONGEST_VALUE = 60


@dataclass(frozen=True, order=True)
class Source:
    """A text that keys come from: a file, an override, or a dict."""

    rank: int
    """Place among the sources in a list of mistakes: the file itself comes first."""
    name: str
    """As the user knows it, such as `experiments/digits.yaml`."""
    folder: Path
    """What relative paths start from."""
    has_lines: bool = True
    """Whether a line and a column say more than the name does."""

    def at(self, line: int, column: int) -> "Position":
        """Return a place in this source; line and column count from 1."""
        return Position(self, line, column) if self.has_lines else Position(self)


@dataclass(frozen=True, order=True)
class Position:
    """A place in a source; line and column count from 1 and are 0 where there are no lines."""

    source: Source
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return it as a message shows it: `experiments/digits.yaml:12:20`."""
        if not self.line:
            return self.source.name
        return f"{self.source.name}:{self.line}:{self.column}"


class Mistakes:
    """What is wrong, gathered over a whole spec so that the user mends it in one go."""

    def __init__(self) -> None:
        self._found: dict[tuple[Position, str], None] = {}

    def add(self, position: Position, text: str, *, key: str = "") -> None:
        """Note a mistake; the same one at the same place counts once."""
        self._found[position, f"{key}: {text}" if key else text] = None

    def raise_any(self) -> None:
        """Raise what was found, in the order of the text.

        Raises:
            SpecError: There was a mistake.
        """
        if self._found:
            ordered = sorted(self._found, key=lambda found: found[0])
            raise SpecError([f"{position}: {text}" for position, text in ordered])

    def refuse(self, position: Position, text: str) -> NoReturn:
        """Raise a mistake that nothing can be read beyond, with those found before it.

        Raises:
            SpecError: Always.
        """
        self.add(position, text)
        self.raise_any()
        raise AssertionError  # pragma: no cover


def value_text(value: object) -> str:
    """Return a value as it would stand in the file, shortened; a list or map by its kind."""
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
