"""What the sections of an experiment file are made of: closed models, and kinds of values.

A section is closed and computes nothing: what None stands for is decided while planning, where
the machines are known, so that a spec means the same on every machine.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from orchestrator.specs.vocabulary import explain_wrong_word

OWN_CODE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""`module:callable`, both of which may be dotted."""


class Section(BaseModel):
    """A map of the experiment file: closed, frozen, no conversion of one type into another."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


Arguments = dict[str, Any]
"""Further arguments by name; a search space may stand in place of a value."""

# A list that YAML gives is taken for a tuple; what is in it is as strict as elsewhere.
LISTED = Field(strict=False)


def refuse(text: str, *, key: str = "") -> PydanticCustomError:
    """Return the error that a rule raises: `text` is shown as it is, at the dotted `key`."""
    return PydanticCustomError("rule", "{text}", {"text": text, "key": key})


def _not_empty(value: tuple[object, ...]) -> tuple[object, ...]:
    if not value:
        raise refuse("must hold something (got an empty list); leave it out")
    return value


NOT_EMPTY = AfterValidator(_not_empty)
"""Marks a list that would mean nothing empty."""


def no_number(value: object) -> object:
    """Refuse 1 and 0 for true and false: a number is none of a key's words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refuse(f"must be true, false or a word (got {value})")
    return value


def name_of(key: str, names: Collection[str], *, other: str = "") -> AfterValidator:
    """Return the check of a key that takes one of many names, or the user's own code.

    Args:
        key: Dotted key, for the message.
        names: The names there are.
        other: Beginning of names that are known elsewhere, such as `timm/`.
    """
    return AfterValidator(_checker(key, names, other))


def name_schema(names: Collection[str], *, other: str = "") -> dict[str, Any]:
    """Return the JSON Schema of such a key."""
    pattern = f"^{other}|:" if other else ":"
    return {"anyOf": [{"enum": sorted(names)}, {"type": "string", "pattern": pattern}]}


def _checker(key: str, names: Collection[str], other: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name in names or (other and name.startswith(other) and name != other):
            return name
        if ":" not in name:
            raise refuse(explain_wrong_word(key, name, sorted(names)))
        if not OWN_CODE.fullmatch(name):
            raise refuse(f"own code is written module:callable (got {name!r})")
        return name

    return check
