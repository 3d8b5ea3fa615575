"""Overrides: keys set on the command line, with the same help as in a file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.search import Grid

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]


def test_an_override_wins(load: Load) -> None:
    """The last word on a key counts; its neighbours stay."""
    keys = load(
        "optimizer: {lr: 1, momentum: 0.5}\n", "optimizer.lr=2", "optimizer.lr=1e-3"
    ).keys

    assert (keys.optimizer.lr, keys.optimizer.momentum) == (0.001, 0.5)


def test_an_override_is_yaml(load: Load) -> None:
    """A value may be a search space, a text with `=` in it, or a map that merges."""
    spec = load(
        "optimizer: {momentum: 0.5}\n",
        "loss.label_smoothing={grid: [0, 0.1]}",
        "description='a = b'",
        "optimizer={lr: 3}",
        "fine_tune=null",
    )

    assert spec.spaces == {"loss.label_smoothing": Grid((0.0, 0.1))}
    assert spec.keys.description == "a = b"
    assert (spec.keys.optimizer.lr, spec.keys.optimizer.momentum) == (3.0, 0.5)


def test_an_empty_map_empties_what_was_there(load: Load) -> None:
    """The one way to take an argument away, or a whole section."""
    spec = load(
        "loss: {name: 'a:b', arguments: {x: {grid: [1, 2]}, y: 3}}\noptimizer: {lr: 1}\n",
        "loss.arguments={}",
        "optimizer={}",
    )

    assert (spec.keys.loss.arguments, spec.spaces, spec.keys.optimizer.lr) == ({}, {}, None)


def test_an_override_reaches_into_a_baseline(load: Load) -> None:
    """A baseline's dotted key may be written with dots."""
    line = "loss: {label_smoothing: {grid: [0, 0.1]}}\n"

    spec = load(line, "search.baseline.loss.label_smoothing=0.1")

    assert spec.keys.search.baseline == {"loss.label_smoothing": 0.1}


def test_paths_in_overrides_are_relative_to_the_current_folder(
    load: Load, folder: Path
) -> None:
    """The command line's paths mean what they mean in the shell."""
    assert load("", "storage_path=out").keys.storage_path == str(folder / "out")


@pytest.mark.parametrize(
    ("override", "mistake"),
    [
        ("seed", "must look like key.sub=value"),
        ("=3", "must look like key.sub=value"),
        ("a..b=3", "must look like key.sub=value"),
        ("extends=a.yaml", "extends: stands in a file, not in an override"),
        (
            "loss.label_smooting=0",
            "loss.label_smooting: no such key; did you mean 'label_smoothing'?",
        ),
        ("seed=[1", "not YAML: expected ',' or ']', but got '<stream end>'"),
        ("seed=x", "seed: must be a whole number (got 'x')"),
        ("loss=3", "loss: must be a map of keys (got 3)"),
        (
            "seed.x=3",
            "seed: must be a value, or a search space such as {grid: [...]} (got a map)",
        ),
    ],
)
def test_a_wrong_override_is_shown(refused: Refused, override: str, mistake: str) -> None:
    """A mistake on the command line shows the override that made it."""
    assert refused("", override) == (f"override {override!r}: {mistake}",)
