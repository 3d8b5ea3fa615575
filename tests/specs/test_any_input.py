"""Whatever is written, a spec loads or says in words why not; never a traceback."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.specs.load import load_spec
from orchestrator.specs.reading import known_keys

FEW = settings(max_examples=60)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
SPACES = st.dictionaries(
    st.sampled_from(["grid", "choice", "uniform", "loguniform", "randint", "gird"]),
    st.lists(SCALARS | st.floats(0, 1), max_size=3) | SCALARS,
    max_size=2,
)
WORDS = st.sampled_from(
    [part for key in known_keys() for part in key.split(".")] + ["amp", "x"]
)
LINES = st.sampled_from(
    [
        "a",
        "name",
        ":",
        " ",
        "\n",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a",
        "*a",
        "!!x",
        "'",
        '"',
        "|",
        "1",
    ]
)


def is_answered(source: str | dict[str, Any], *overrides: str) -> bool:
    """Load, and say whether that or a list of mistakes came of it."""
    with suppress(SpecError):
        load_spec(source, overrides)
    return True


@FEW
@given(st.lists(LINES, max_size=20).map("".join) | st.text(max_size=40))
def test_any_text_is_answered(folder: Path, text: str) -> None:
    """No text, YAML or not, breaks the reader."""
    (folder / "x.yaml").write_text(text, encoding="utf-8")

    assert is_answered("x.yaml")


@FEW
@given(st.binary(max_size=40))
def test_any_bytes_are_answered(folder: Path, content: bytes) -> None:
    """No file breaks the reader."""
    (folder / "x.yaml").write_bytes(content)

    assert is_answered("x.yaml")


@FEW
@given(
    st.dictionaries(
        WORDS,
        SCALARS
        | SPACES
        | st.dictionaries(WORDS, SCALARS | SPACES | st.lists(SCALARS, max_size=2), max_size=4),
        max_size=6,
    )
)
def test_any_map_is_answered(spec: dict[str, Any]) -> None:
    """No mixture of keys, values and search spaces breaks the checks."""
    least: dict[str, Any] = {
        "name": "try",
        "data": {"dataset": "digits"},
        "model": {"architecture": "small_cnn"},
        "training": {"epochs": 4},
    }

    assert is_answered(spec)
    assert is_answered({**spec, **least})


@pytest.mark.parametrize("key", known_keys())
@pytest.mark.parametrize(
    "value", ["", "3", "-1.5", "x", "true", "[1]", "{a: 1}", "{grid: [1, x]}"]
)
def test_any_value_of_any_key_is_answered(folder: Path, key: str, value: str) -> None:
    """No key is surprised by a value of another kind."""
    least = "name: a\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
    (folder / "x.yaml").write_text(least + "training: {epochs: 1}\n")

    assert is_answered("x.yaml", f"{key}={value}")
