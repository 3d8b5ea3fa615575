"""YAML is read safely, as version 1.2 means it, and every slip has its place."""

import time
from collections.abc import Callable

import pytest

from orchestrator.specs.experiment import ExperimentSpec

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]


@pytest.mark.parametrize("written", ["1e-3", "0.001", ".001", "1.E-3", "+1e-3"])
def test_numbers_with_exponents_are_numbers(load: Load, written: str) -> None:
    """`1e-3` is a number, with and without a point, as in every other language."""
    assert load(f"optimizer: {{lr: {written}}}\n").keys.optimizer.lr == 0.001


@pytest.mark.parametrize(
    ("written", "value"), [("12", 12), ("0x1F", 31), ("0o17", 15), ("010", 10)]
)
def test_whole_numbers_are_those_of_yaml_1_2(load: Load, written: str, value: int) -> None:
    """A leading zero means nothing; other bases are marked."""
    assert load(f"seed: {written}\n").keys.seed == value


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "off", "2024-01-01", "12:30:45", "=", "1_0"]
)
def test_words_stay_words(load: Load, word: str) -> None:
    """What older YAML turns into booleans, dates and minutes is text."""
    assert load(f"description: {word}\n").keys.description == word


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_only_true_is_true(load: Load, word: str) -> None:
    """Booleans are true and false."""
    assert load(f"deterministic: {word}\n").keys.deterministic is True


def test_a_quoted_number_is_text(load: Load) -> None:
    """Quotes make text of anything."""
    assert load("description: '1e-3'\n").keys.description == "1e-3"


def test_anchors_repeat_a_value(load: Load) -> None:
    """Plain aliases work."""
    keys = load("seed: &n 3\nresources: {num_workers: *n}\n").keys

    assert keys.resources.num_workers == 3


def test_duplicate_keys_are_refused(refused: Refused) -> None:
    """The second of two equal keys is a mistake, not a silent winner."""
    assert refused("seed: 1\nloss: {name: cross_entropy, name: cross_entropy}\nseed: 2\n") == (
        "x.yaml:6:29: key 'name' is already set on line 6",
        "x.yaml:7:1: key 'seed' is already set on line 5",
    )


def test_a_duplicate_in_an_override_has_no_line(refused: Refused) -> None:
    """An override has no lines to name."""
    assert refused("", "loss={name: a, name: b}")[0] == (
        "override 'loss={name: a, name: b}': key 'name' is already set"
    )


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("seed: 'open\n", "6:1: not YAML: found unexpected end of stream"),
        ("seed: [1\nx: 2\n", "6:2: not YAML: expected ',' or ']', but got ':'"),
        ("a: b: c\n", "5:5: not YAML: mapping values are not allowed here"),
        ("\tseed: 1\n", "5:1: not YAML: found character '\\t' that cannot start any token"),
        ("--- \nseed: 1\n", "5:1: not YAML: but found another document"),
        ("seed: *n\n", "5:7: not YAML: found undefined alias 'n'"),
        ("seed: 1 \x07\n", "5:9: not YAML: holds a character that cannot be printed"),
        ("seed: !!python/object:os.system x\n", None),
        ("seed: &a [*a]\n", "5:11: an alias stands inside of what it repeats"),
        ("<<: {seed: 1}\n", "5:1: merge keys are not supported; use 'extends'"),
        ("1: 2\n", "5:1: keys are words (got 1)"),
        ("null: 2\n", "5:1: keys are words (got null)"),
        ("? [a]\n: 2\n", "5:3: keys are words (got a list)"),
        (f"seed: {'9' * 5000}\n", "5:7: seed: must be a whole number (got inf)"),
        (f"seed: {'[' * 60}\n", "5:56: nested more than 50 deep"),
    ],
)
def test_what_is_not_ours_to_read_is_refused(
    refused: Refused, line: str, mistake: str | None
) -> None:
    """Broken YAML, tags, merge keys, loops and odd keys are named with their place."""
    if mistake is None:
        tag = "'tag:yaml.org,2002:python/object:os.system'"
        mistake = f"5:7: tags are not allowed (got {tag})"

    assert refused(line) == (f"x.yaml:{mistake}",)


def test_alias_bombs_are_counted_and_not_unfolded(refused_whole: Refused) -> None:
    """Nine lists of nine of the one before would be 387 million values: refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    start = time.monotonic()

    assert refused_whole("\n".join(lines)) == (
        "x.yaml:6:5: unfolds to more than 100,000 values",
    )
    assert time.monotonic() - start < 30


def test_a_tower_of_aliases_is_too_deep(refused_whole: Refused) -> None:
    """Depth is counted through aliases as well."""
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80))]

    assert refused_whole("\n".join(lines)) == ("x.yaml:50:6: nested more than 50 deep",)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.INF", "1e400"])
def test_numbers_must_be_finite(refused: Refused, value: str) -> None:
    """Neither infinity nor not-a-number is a setting."""
    shown = {".nan": "nan", ".inf": "inf", "-.INF": "-inf", "1e400": "inf"}[value]

    assert refused(f"optimizer: {{weight_decay: {value}}}\n") == (
        f"x.yaml:5:27: optimizer.weight_decay: must be a finite number (got {shown})",
    )


def test_long_lists_are_refused_before_their_end(
    refused_whole: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written out counts like what is unfolded, and reading stops there."""
    monkeypatch.setattr("orchestrator.specs.yaml_tree._MAX_NODES", 10)

    # The key and ten values are read; the eleventh is one too many.
    assert refused_whole("a: [" + "1," * 1000 + "]") == (
        "x.yaml:1:25: unfolds to more than 10 values",
    )
