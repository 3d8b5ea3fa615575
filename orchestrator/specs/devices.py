"""The forms of `resources.visible_devices`, checked before any machine is looked at."""

from collections.abc import Sequence
from typing import Any, Final

from orchestrator.specs.section import refuse

_ONE: Final = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}
_LIST: Final = {"type": "array", "items": _ONE, "minItems": 1}
_LISTS: Final = {"type": "array", "items": _LIST, "minItems": 1}
DEVICES_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        _LIST,
        _LISTS,
        {"type": "object", "additionalProperties": {"anyOf": [_LIST, _LISTS]}},
        {"type": "null"},
    ]
}
"""JSON Schema of the key."""
_FORMS: Final = "write [0, 2], or [[0], [2]] for each lane, or {NODE: [0, 2]}"


def check_devices(value: Any) -> Any:  # noqa: ANN401  whatever YAML holds
    """Refuse what is none of the forms.

    Returns:
        A tuple of numbers and UUIDs, a tuple of such tuples, or a map to either.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        if not value:
            raise refuse(f"must name a node (got an empty map); {_FORMS}")
        return {str(name): _check_lists(entries) for name, entries in value.items()}
    return _check_lists(value)


def is_flat(value: Any) -> bool:  # noqa: ANN401  one of the forms
    """Whether it is one list for every node and every lane."""
    return isinstance(value, tuple) and not any(isinstance(one, tuple) for one in value)


def _check_lists(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise refuse(f"must be a list of GPUs (got {value!r}); {_FORMS}")
    if all(isinstance(one, list | tuple) for one in value):
        return tuple(_check_list(one) for one in value)
    return _check_list(value)


def _check_list(value: Sequence[Any]) -> tuple[int | str, ...]:
    if not value:
        raise refuse(f"must name a GPU for each run (got an empty list); {_FORMS}")
    for one in value:
        if isinstance(one, bool) or not isinstance(one, int | str) or one in ("", "all"):
            raise refuse(f"a GPU is a number or a UUID (got {one!r}); {_FORMS}")
        if isinstance(one, int) and one < 0:
            raise refuse(f"a GPU is numbered from 0 (got {one})")
    if len({str(one) for one in value}) < len(value):
        raise refuse(f"names a GPU twice (got {list(value)!r})")
    return tuple(value)
