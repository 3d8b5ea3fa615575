"""How settings and runs are called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.names import (
    name_runs,
    name_setting,
    shorten_keys,
    word_setting,
    word_value,
)


def test_keys_go_by_their_last_part() -> None:
    """Sections say nothing that the last part does not."""
    assert shorten_keys(["loss.label_smoothing", "seed"]) == ("label_smoothing", "seed")


def test_keys_of_one_last_part_keep_their_full_names() -> None:
    """Two keys `name` are told apart, the third key stays short."""
    keys = ["optimizer.name", "schedule.name", "optimizer.lr"]

    assert shorten_keys(keys) == ("optimizer.name", "schedule.name", "lr")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0.05, "0.05"),
        (0.0, "0"),
        (1e-5, "1e-05"),
        (1 / 3, "0.333333"),
        (2, "2"),
        (12345678, "12345678"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        ("adamw", "adamw"),
    ],
)
def test_values_are_worded_as_yaml_writes_them(
    value: str | float | bool | None, word: str
) -> None:
    """Numbers to six digits, whole ones in full."""
    assert word_value(value) == word


def test_a_setting_is_named_by_its_keys_and_values() -> None:
    """In the order of the setting; empty where nothing is searched."""
    named = name_setting({"loss.label_smoothing": 0.1, "optimizer.name": "sgd"})

    assert named == "label_smoothing=0.1,name=sgd"
    assert name_setting({}) == ""


def test_a_setting_is_worded_for_a_line_of_text() -> None:
    """Parted by blanks, or as asked; empty where nothing is searched."""
    setting = {"loss.label_smoothing": 0.1, "optimizer.name": "sgd"}

    assert word_setting(setting) == "label_smoothing=0.1 name=sgd"
    assert word_setting(setting, separator="; ") == "label_smoothing=0.1; name=sgd"
    assert word_setting({}) == ""


def test_runs_are_named_by_setting_and_seed() -> None:
    """A run without searched keys goes by its seed alone."""
    assert name_runs([({"loss.label_smoothing": 0.1}, 2), ({}, 5)]) == [
        "label_smoothing=0.1,seed=2",
        "seed=5",
    ]


def test_letters_that_a_file_system_may_refuse_are_replaced() -> None:
    """A slash, a colon and a space become underscores."""
    assert name_runs([({"data.root": "a/b:c d"}, 0)]) == ["root=a_b_c_d,seed=0"]


def test_names_that_would_coincide_end_in_a_digest() -> None:
    """Two values equal to six digits are two runs; so are `a/b` and `a:b`."""
    names = name_runs(
        [
            ({"lr": 0.1}, 0),
            ({"lr": 0.1000000001}, 0),
            ({"lr": 0.1}, 1),
            ({"root": "a/b"}, 0),
            ({"root": "a:b"}, 0),
        ]
    )

    assert len(set(names)) == 5
    assert names[2] == "lr=0.1,seed=1"
    assert re.fullmatch(r"lr=0\.1,seed=0-[0-9a-f]{8},seed=0", names[0])


def test_long_names_are_cut_and_stay_distinct() -> None:
    """Two settings that differ behind the hundredth letter alone."""
    names = name_runs([({"key": "x" * 200 + end}, 7) for end in "ab"])

    assert len(set(names)) == 2
    assert {len(name) for name in names} == {100 + len("-01234567,seed=7")}


SETTINGS = st.dictionaries(
    st.sampled_from(["a.x", "b.x", "y"]),
    st.one_of(st.text(max_size=120), st.floats(allow_nan=False), st.integers(), st.booleans()),
    min_size=1,
)


@given(st.lists(st.tuples(SETTINGS, st.integers(0, 3)), max_size=6))
def test_any_runs_get_distinct_names_that_fit_a_folder(
    pairs: list[tuple[dict[str, str | float | bool], int]],
) -> None:
    """Whatever the values, different runs have different names without odd characters."""
    different = {
        repr((sorted(setting.items()), seed)): (setting, seed) for setting, seed in pairs
    }

    names = name_runs(different.values())

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.=,+-]{1,125}", name) for name in names)
