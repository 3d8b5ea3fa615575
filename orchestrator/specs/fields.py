"""What the models say of a key: its section, its kind of value, its allowed words."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from orchestrator.specs.search import Scalar
from orchestrator.specs.section import Section

Kind = Literal["number", "whole", "flag", "text", "map", "list", "any"]

_ARGUMENTS = ".arguments."


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the model of a key that is a section of keys, None for a key with a value."""
    for atom in _atoms(field.annotation):
        if isinstance(atom, type) and issubclass(atom, Section):
            return atom
    return None


def list_fields(model: type[Section], prefix: str = "") -> dict[str, FieldInfo]:
    """List the keys that take a value, dotted, in the order of the models."""
    found: dict[str, FieldInfo] = {}
    for key, field in model.model_fields.items():
        section = section_of(field)
        if section is None:
            found[prefix + key] = field
        else:
            found |= list_fields(section, f"{prefix}{key}.")
    return found


def list_sections(model: type[Section], prefix: str = "") -> dict[str, type[Section]]:
    """List the keys that are sections of keys, dotted, with their models."""
    found: dict[str, type[Section]] = {}
    for key, field in model.model_fields.items():
        section = section_of(field)
        if section is not None:
            found |= {prefix + key: section}
            found |= list_sections(section, f"{prefix}{key}.")
    return found


def rule_of(field: FieldInfo) -> type[Section] | None:
    """Return the model of the maps that a key takes a list of; None for any other key."""
    for atom in _atoms(field.annotation):
        for part in get_args(atom) if get_origin(atom) is tuple else ():
            if isinstance(part, type) and issubclass(part, Section):
                return part
    return None


def options_of(field: FieldInfo) -> tuple[Scalar, ...]:
    """Return the values that a key chooses from; empty where it takes more than listed ones."""
    return tuple(
        option
        for atom in _atoms(field.annotation)
        if get_origin(atom) is Literal
        for option in get_args(atom)
    )


def kind_of(field: FieldInfo) -> Kind:
    """Return what a key's values are; a key that chooses from words is text.

    A `list` takes lists and maps as they are; `any` takes them and words too.
    """
    atoms = list(_atoms(field.annotation))
    if Any in atoms:
        return "any"
    if any(get_origin(atom) is tuple for atom in atoms):
        return "list"
    if float in atoms:
        return "number"
    if int in atoms:
        return "whole"
    if bool in atoms:
        return "flag"
    return "map" if any(get_origin(atom) in (Mapping, dict) for atom in atoms) else "text"


def kind_at(key: str, fields: Mapping[str, FieldInfo]) -> Kind:
    """Return what a dotted key's values are; an argument's are whatever its callable takes."""
    return "any" if is_argument(key) else kind_of(fields[key])


def is_argument(key: str) -> bool:
    """Say whether a key is one of those that a map of arguments holds."""
    return _ARGUMENTS in key


def _atoms(annotation: object) -> Iterator[object]:
    """Yield what an annotation is made of, optional and constrained types taken apart."""
    origin = get_origin(annotation)
    if origin in (None, Literal, Mapping, dict, tuple):
        yield annotation
        return
    for part in get_args(annotation):
        yield from _atoms(part)
