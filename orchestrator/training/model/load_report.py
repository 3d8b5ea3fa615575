"""What came of loading weights into a network: nothing is left out without a word."""

from dataclasses import dataclass

from orchestrator.training.model.weights_file import list_names

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ShapeMismatch:
    """A tensor that has the right name and another shape."""

    name: str
    found: Shape
    """Shape in the weights."""
    expected: Shape
    """Shape in the network."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A tensor that would fit and was not loaded."""

    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Which tensors were loaded and which were not; plain JSON by `dataclasses.asdict`."""

    source: str
    """The weights, as they were asked for."""
    matched: tuple[str, ...]
    """Parameters and buffers that now have the weights' values."""
    missing: tuple[str, ...]
    """In the network alone; they keep their first values."""
    unexpected: tuple[str, ...]
    """In the weights alone."""
    shape_mismatch: tuple[ShapeMismatch, ...]
    left_out: tuple[LeftOut, ...]
    adapted: tuple[str, ...]
    """What was fitted to another number of channels or size of images, `name: how`."""
    share: float
    """Elements of parameters loaded, of all in the network, 0 to 1; where the head has another
    shape or other classes, of all but the head's."""

    @property
    def is_complete(self) -> bool:
        """Whether network and weights agree in every tensor."""
        return not (self.missing or self.unexpected or self.shape_mismatch or self.left_out)

    def describe(self) -> str:
        """A few lines of text; long lists are cut."""
        shapes = tuple(
            f"{entry.name} {entry.found} there, {entry.expected} here"
            for entry in self.shape_mismatch[:3]
        )
        lines = [
            f"weights {self.source}: {self.share:.1%} of the parameters loaded, "
            f"{len(self.matched)} tensors",
            *(f"  adapted {text}" for text in self.adapted),
            *_line("in the network alone", self.missing),
            *_line("in the weights alone", self.unexpected),
        ]
        if shapes:
            lines.append(f"  other shapes ({len(self.shape_mismatch)}): {'; '.join(shapes)}")
        reasons = dict.fromkeys(entry.why for entry in self.left_out)
        for why in reasons:
            names = tuple(entry.name for entry in self.left_out if entry.why == why)
            lines.append(f"  left out {list_names(names)}: {why}")
        return "\n".join(lines)

    def first_differences(self) -> str:
        """The first names that do not agree, in one line."""
        parts = [
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", tuple(entry.name for entry in self.shape_mismatch)),
            ("left out", tuple(entry.name for entry in self.left_out)),
        ]
        return "; ".join(f"{what}: {list_names(names, 3)}" for what, names in parts if names)


def _line(what: str, names: tuple[str, ...]) -> list[str]:
    return [f"  {what} ({len(names)}): {list_names(names)}"] if names else []
