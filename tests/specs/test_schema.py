"""The JSON Schema that editors use: the same keys, the same text, and the search spaces."""

from typing import Any

import jsonschema
import pytest
import yaml

from orchestrator.specs.experiment import Keys
from orchestrator.specs.fields import list_fields
from orchestrator.specs.schema import json_schema

LEAST: dict[str, Any] = {
    "name": "try",
    "data": {"dataset": "digits"},
    "model": {"architecture": "small_cnn"},
    "training": {"epochs": 4},
}


def is_valid(spec: dict[str, Any]) -> bool:
    """Say whether an editor would accept the file."""
    return jsonschema.Draft202012Validator(json_schema()).is_valid(spec)


def test_the_schema_is_one() -> None:
    """It follows the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(json_schema())

    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "lines",
    [
        "loss: {label_smoothing: 0.1}",
        "loss: {label_smoothing: {grid: [0, 0.1]}}",
        "loss: {label_smoothing: {uniform: [0, 0.1]}}",
        "optimizer: {lr: {loguniform: [0.1, 1]}}",
        "training: {epochs: {randint: [1, 3]}}",
        "model: {architecture: {choice: [resnet18, small_cnn]}}",
        "fine_tune: {head_lr: 1, backbone_lr: 0}",
        "fine_tune: null",
        "search: {baseline: {lr: 1}}",
        "extends: base.yaml",
    ],
)
def test_what_loads_is_valid(lines: str) -> None:
    """An editor underlines nothing that would load."""
    own = yaml.safe_load(lines)

    assert is_valid(
        {
            key: {**value, **own.get(key, {})} if isinstance(value, dict) else value
            for key, value in LEAST.items()
        }
        | {k: v for k, v in own.items() if k not in LEAST}
    )


@pytest.mark.parametrize(
    "lines",
    [
        "lr: 1",
        "loss: {smoothing: 1}",
        "loss: {label_smoothing: 1}",
        "loss: {label_smoothing: {grid: [0, 1]}}",
        "loss: {label_smoothing: {grid: []}}",
        "loss: {label_smoothing: {grid: [0], choice: [0]}}",
        "data: {dataset: digits, batch_size: {uniform: [0, 1]}}",
        "seed: {grid: [0, 1]}",
        "data: {}",
        "fine_tune: {head_lr: 1}",
    ],
)
def test_what_does_not_load_is_underlined(lines: str) -> None:
    """Unknown keys, values out of range, and keys that cannot be searched."""
    assert not is_valid(LEAST | yaml.safe_load(lines))


def test_only_a_file_that_extends_may_leave_keys_out() -> None:
    """What the extended file holds cannot be seen from the editor."""
    assert not is_valid({"name": "x"})
    assert is_valid({"extends": ["a.yaml"], "fine_tune": {"head_lr": 1}})


def test_every_key_is_described() -> None:
    """The text under a field is what the editor shows; nothing that pydantic made up."""
    schema = json_schema()
    sections = {key: value for key, value in schema["properties"].items() if "$ref" in value}

    for key, field in list_fields(Keys).items():
        section, _, word = key.rpartition(".")
        home = schema
        for part in filter(None, section.split(".")):
            reference = home["properties"][part]
            reference = reference.get("$ref") or reference["anyOf"][0]["$ref"]
            home = schema["$defs"][reference.rpartition("/")[2]]
        assert home["additionalProperties"] is False
        assert home["properties"][word]["description"] == field.description
        assert "title" not in home["properties"][word]
    assert all("default" not in value for value in sections.values())
