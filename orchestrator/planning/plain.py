"""Plans from plain JSON values: what was a tuple is a list there, and a plan a map."""

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def build_plan(cls: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  any of the plans
    """A plan from the plain JSON values of its fields.

    Raises:
        TypeError: A field is missing or unknown.
    """
    hints = get_type_hints(cls)
    return cls(**{key: _build_value(hints.get(key), value) for key, value in values.items()})


def _build_value(hint: Any, value: Any) -> Any:  # noqa: ANN401
    """The value that JSON made of a field: tuples had become lists, plans maps."""
    if get_origin(hint) in (Union, UnionType):
        fitting = [part for part in get_args(hint) if _fits(part, value)]
        return _build_value(fitting[0], value) if fitting else value
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        return build_plan(hint, value)
    if isinstance(value, list) and get_origin(hint) is tuple:
        return tuple(_build_value(get_args(hint)[0], item) for item in value)
    return value


def _fits(hint: Any, value: object) -> bool:  # noqa: ANN401
    if isinstance(value, Mapping):
        return dataclasses.is_dataclass(hint)
    return isinstance(value, list) and get_origin(hint) is tuple
