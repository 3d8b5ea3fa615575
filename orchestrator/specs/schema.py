"""JSON Schema of an experiment file, so that an editor completes keys and shows their text."""

from typing import Any

from orchestrator.specs.experiment import Keys
from orchestrator.specs.fields import Kind, kind_of, list_fields, list_sections
from orchestrator.specs.search import why_fixed

_WORDS: dict[Kind, tuple[str, ...]] = {
    "number": ("grid", "choice", "uniform", "loguniform", "randint"),
    "whole": ("grid", "choice", "randint"),
    "flag": ("grid", "choice"),
    "text": ("grid", "choice"),
    "any": ("grid", "choice"),
    "list": (),
    "map": (),
}


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12); a key that can be searched also takes its spaces."""
    schema = Keys.model_json_schema()
    homes = {
        key: schema["$defs"][model.__name__] for key, model in list_sections(Keys).items()
    } | {"": schema}
    for key, known in list_fields(Keys).items():
        section, _, word = key.rpartition(".")
        properties = homes[section]["properties"]
        if not why_fixed(key):
            properties[word] = _with_spaces(properties[word], _WORDS[kind_of(known)])
    for key in Keys.model_fields:
        # The default of a section repeats those of its keys.
        if key in homes:
            schema["properties"][key].pop("default", None)
    required = {
        key: home.pop("required")
        for key, home in homes.items()
        if "required" in home and "." not in key
    }
    together = {
        key: {"dependentRequired": homes[key].pop("dependentRequired")}
        for key in homes
        if "dependentRequired" in homes[key]
    }
    schema["properties"] = {"extends": _extends()} | schema["properties"]
    # What an extended file may hold cannot be seen from here.
    schema["if"] = {"not": {"required": ["extends"]}}
    schema["then"] = {
        "required": required.pop(""),
        "properties": {key: {"required": words} for key, words in required.items()} | together,
    }
    _drop_titles(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _with_spaces(value: dict[str, Any], words: tuple[str, ...]) -> dict[str, Any]:
    about = {name: value[name] for name in ("description", "default") if name in value}
    plain = {
        name: value[name] for name in value if name not in ("description", "default", "title")
    }
    spaces = [_space(word, plain) for word in words]
    return about | {"anyOf": [plain, *spaces]} if spaces else value


def _space(word: str, value: dict[str, Any]) -> dict[str, Any]:
    under: dict[str, Any] = {
        "type": "array",
        "items": value,
        "minItems": 1,
        "uniqueItems": True,
    }
    if word not in ("grid", "choice"):
        bound = {"type": "integer" if word == "randint" else "number"}
        under = {"type": "array", "items": bound, "minItems": 2, "maxItems": 2}
    return {
        "type": "object",
        "properties": {word: under},
        "required": [word],
        "additionalProperties": False,
    }


def _extends() -> dict[str, Any]:
    return {
        "description": "File, or list of files, that this one is laid over, relative to it: "
        "maps merge, lists and search spaces replace.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }


def _drop_titles(tree: object) -> None:
    """Drop what pydantic makes of the names, which an editor would show above our text."""
    if isinstance(tree, dict):
        tree.pop("title", None)
        for child in tree.values():
            _drop_titles(child)
    elif isinstance(tree, list):
        for child in tree:
            _drop_titles(child)
