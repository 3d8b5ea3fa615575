"""Plain values -> a checked section, or what is wrong with them in short plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.specs.fields import list_fields, options_of, rule_of
from orchestrator.specs.mistakes import value_text
from orchestrator.specs.search import why_fixed
from orchestrator.specs.section import Section
from orchestrator.specs.vocabulary import explain_wrong_word

_Model = TypeVar("_Model", bound=Section)

_MUST_BE: Mapping[str, str] = {
    "bool_type": "true or false",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "dict_type": "a map",
    "model_type": "a map of keys",
    "tuple_type": "a list",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}


@dataclass(frozen=True)
class Issue:
    """What is wrong, at a dotted key."""

    key: str
    text: str


def check_values(
    model: type[_Model], values: Mapping[str, Any]
) -> tuple[_Model | None, tuple[Issue, ...]]:
    """Check plain values against a section; either the section is there or the issues are."""
    try:
        return model.model_validate(values), ()
    except ValidationError as error:
        return None, tuple(_explain(detail, model) for detail in error.errors())


def _explain(detail: ErrorDetails, model: type[Section]) -> Issue:
    key = ".".join(str(part) for part in detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "rule":
        return Issue(key, context["text"])
    if kind == "missing":
        return Issue(key, "required key is missing")
    if kind == "extra_forbidden":
        return Issue(key, _explain_unknown_part(key, model))
    if kind == "literal_error":
        field = list_fields(model).get(key)
        if field is None:
            return Issue(key, f"must be {context['expected']} (got {value_text(value)})")
        return Issue(key, explain_wrong_word(key, value, options_of(field)))
    wanted = _MUST_BE[kind].format_map({name: _short(bound) for name, bound in context.items()})
    return Issue(key, f"must be {wanted} (got {value_text(value)}){_advice(key, kind, value)}")


def _explain_unknown_part(key: str, model: type[Section]) -> str:
    """Say what is wrong with a word in one of the maps that a key takes a list of."""
    *path, _, word = key.split(".")
    rule = rule_of(list_fields(model)[".".join(path)])
    known = list(rule.model_fields) if rule else []
    near = get_close_matches(word, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"keys here are {', '.join(known)}"
    return f"no such key; {advice}"


def _short(bound: object) -> str:
    if not isinstance(bound, int | float):
        return str(bound)
    return str(int(bound)) if bound == int(bound) else str(bound)


def _advice(key: str, kind: str, value: object) -> str:
    if isinstance(value, list) and not why_fixed(key):
        return "; to search over values write {grid: [...]}"
    if (key, kind) == ("resources.gpus_per_worker", "less_than_equal"):
        return "; set resources.num_workers for several GPUs per run"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if kind == "float_type" and isinstance(value, str):
        return "; write it without quotes or units"
    return ""
