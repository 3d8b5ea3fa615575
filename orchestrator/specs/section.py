"""What the sections of an experiment file are made of: closed models, and kinds of values.

A section is closed and computes nothing: what None stands for is decided while planning, where
the machines are known, so that a spec means the same on every machine.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from orchestrator.specs.addresses import check_address, is_address
from orchestrator.specs.vocabulary import explain_wrong_word

OWN_CODE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""`module:callable`, both of which may be dotted."""


Finding = tuple[str, str]
"""Dotted key below a section ("" for the section itself), and what is wrong with it."""


class Section(BaseModel):
    """A map of the experiment file: closed, frozen, no conversion of one type into another."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def differs(self, key: str) -> bool:
        """Say whether a key has another value than its default; written or not is all one."""
        default = type(self).model_fields[key].get_default(call_default_factory=True)
        return bool(getattr(self, key) != default)

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold: one key against another."""
        yield from ()

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning.

        A search may well hold such a value beside others, as MixUp's 0; a key that means
        nothing in any setting is a mistake.
        """
        yield from ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        found = list(self.list_contradictions())
        if found:
            raise refuse_all(found)
        return self


Arguments = dict[str, Any]
"""Further arguments by name; a search space may stand in place of a value."""

# A list that YAML gives is taken for a tuple; what is in it is as strict as elsewhere.
LISTED = Field(strict=False)


def refuse(text: str) -> PydanticCustomError:
    """Return the error that a rule raises: `text` is shown as it is."""
    return PydanticCustomError("rule", "{text}", {"text": text})


def refuse_all(found: Iterable[Finding]) -> ValidationError:
    """Return the error that stands for several, each at its dotted key."""
    return ValidationError.from_exception_data(
        "rules",
        [
            InitErrorDetails(
                type=refuse(text), loc=tuple(filter(None, key.split("."))), input=""
            )
            for key, text in found
        ],
    )


def _not_empty(value: tuple[object, ...]) -> tuple[object, ...]:
    if not value:
        raise refuse("must hold something (got an empty list); leave it out")
    return value


NOT_EMPTY = AfterValidator(_not_empty)
"""Marks a list that would mean nothing empty."""


def _local_folder(path: str) -> str:
    if is_address(path):
        raise refuse(f"object storage is not built yet (got {path!r}); name a folder")
    return path


FolderPath = Annotated[str, AfterValidator(_local_folder)]
"""Path of a folder or file; a server's address is none."""


def _folder_or_address(path: str) -> str:
    if not is_address(path):
        return path
    try:
        return check_address(path)
    except ValueError as error:
        raise refuse(str(error)) from error


StoragePath = Annotated[str, AfterValidator(_folder_or_address)]
"""Path of a folder, or an address of object storage."""


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
