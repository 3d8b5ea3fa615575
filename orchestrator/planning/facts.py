"""What planning must know of files before it decides: images, weights, the user's own code.

What can be known without a file is known here; the rest is read by whoever starts a plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.errors import SpecError
from orchestrator.planning.section_plans import SYNTHETIC
from orchestrator.specs.data_section import DataSpec

_DIGITS: Final = (79, 81, 79, 82, 81, 81, 81, 79, 77, 80)
"""Training images of each digit."""


@dataclass(frozen=True, kw_only=True)
class DataSetFacts:
    """What a data set holds, once the classes to keep are kept."""

    train_size: int
    num_classes: int
    channels: int
    image_size: int | None
    """Height and width of every image in pixels; None where they differ."""
    sample_size: int | None = None
    """Lesser side of the first image in pixels, where others may differ; None if unknown."""
    manifest: str = ""
    """Digest of the files' names, labels and sizes; empty where no files are listed."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A file that a run starts from."""

    path: str
    """Absolute."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What was read before planning."""

    data: DataSetFacts
    weights: Mapping[str, FileFacts] = field(default_factory=dict)
    """Value of `model.weights` to the file that it means."""
    tensors: Mapping[str, FileFacts] = field(default_factory=dict)
    """File named by a rule of `model.rules` to what is in it."""
    sources: str = ""
    """Digest of the user's own code that travels to the workers."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Installed packages of the user's to digests of their code."""


def known_facts(data: DataSpec) -> DataSetFacts | None:
    """What is known of a data set without a file; None where files must be read.

    Raises:
        SpecError: It has no such class or size.
    """
    if data.dataset == "digits":
        return _digits_facts(data)
    if data.dataset == "synthetic":
        return _synthetic_facts(data)
    return None


def synthetic_sizes(arguments: Mapping[str, int]) -> dict[str, int]:
    """Every argument of the data set `synthetic`, those left out by their defaults."""
    return {**SYNTHETIC, **arguments}


def _digits_facts(data: DataSpec) -> DataSetFacts:
    kept = range(10) if data.classes is None else [_digit(name) for name in data.classes]
    return DataSetFacts(
        train_size=sum(_DIGITS[digit] for digit in kept),
        num_classes=len(kept),
        channels=1,
        image_size=8,
    )


def _digit(name: str) -> int:
    if not (len(name) == 1 and name.isdecimal()):
        raise SpecError([f"data.classes: digits has no class {name!r}; it has '0' to '9'"])
    return int(name)


def _synthetic_facts(data: DataSpec) -> DataSetFacts:
    sizes = synthetic_sizes(data.arguments)
    for name, value in sizes.items():
        least = 8 if name == "image_size" else 1 if name == "channels" else 2
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            text = f"must be a whole number of {least} at least (got {value!r})"
            raise SpecError([f"data.arguments.{name}: {text}"])
    if data.classes is not None:
        raise SpecError(["data.classes: synthetic has as many as you ask for; leave it out"])
    return DataSetFacts(
        train_size=sizes["train_size"],
        num_classes=sizes["num_classes"],
        channels=sizes["channels"],
        image_size=sizes["image_size"],
    )
