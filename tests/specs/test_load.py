"""A file, or a map, becomes a spec; nothing that it says is lost."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.specs.dump import dump_yaml
from orchestrator.specs.experiment import ExperimentSpec, Keys
from orchestrator.specs.load import load_spec
from orchestrator.specs.search import Grid

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]

LEAST: dict[str, Any] = {
    "name": "try",
    "data": {"dataset": "digits"},
    "model": {"architecture": "small_cnn"},
    "training": {"epochs": 4},
}


def test_four_keys_are_enough(load: Load) -> None:
    """Only name, data set, architecture and epochs are required; the rest has defaults."""
    spec = load()

    assert spec.keys.data.batch_size == 64
    assert spec.keys.loss.label_smoothing == 0.0
    assert spec.keys.optimizer.name == "sgd"
    assert spec.keys.optimizer.lr is None
    assert spec.keys.search.seeds == 1
    assert spec.keys.fine_tune is None
    assert (spec.spaces, spec.source, spec.notes) == ({}, "x.yaml", ())


def test_a_map_is_a_spec(folder: Path) -> None:
    """A Python map of the same form gives the same keys, tuples and paths included."""
    smoothing = {"label_smoothing": {"grid": (0, 0.1)}}

    spec = load_spec({**LEAST, "loss": smoothing, "storage_path": Path("runs")})

    assert spec.source == "<dict>"
    assert spec.spaces == {"loss.label_smoothing": Grid((0.0, 0.1))}
    assert spec.keys.storage_path == str(folder / "runs")


def test_mistakes_in_a_map_name_the_map() -> None:
    """Where there are no lines, a mistake names the source and the key."""
    with pytest.raises(SpecError) as caught:
        load_spec({**LEAST, "seed": {1, 2}, 3: 4, "loss": {"name": b"x"}})

    assert caught.value.mistakes == (
        "<dict>: seed: must be text, a number, true, false, a list or a map (got set)",
        "<dict>: keys are words (got 3)",
        "<dict>: loss.name: must be text, a number, true, false, a list or a map (got bytes)",
    )


def test_the_first_value_of_a_space_stands_in_the_keys(load: Load) -> None:
    """One file both trains and searches: the keys are those of the first setting."""
    spec = load("loss: {label_smoothing: {grid: [0.2, 0]}}\n")

    assert spec.keys.loss.label_smoothing == 0.2
    assert spec.spaces == {"loss.label_smoothing": Grid((0.2, 0.0))}


def test_at_gives_the_keys_of_a_setting(load: Load) -> None:
    """Any setting's keys come from the spec, with the rest as it was."""
    spec = load("loss: {label_smoothing: {grid: [0, 0.1]}}\n")

    keys = spec.at({"loss.label_smoothing": 0.1, "seed": 3})

    assert (keys.loss.label_smoothing, keys.seed, keys.training.epochs) == (0.1, 3, 4)


def test_at_refuses_a_setting_that_cannot_be(load: Load) -> None:
    """A drawn setting that breaks a rule across keys is refused and shown."""
    spec = load("schedule: {warmup_epochs: 3}\n")

    with pytest.raises(SpecError) as caught:
        spec.at({"training.epochs": 2})

    assert str(caught.value) == (
        "x.yaml:5:27: schedule.warmup_epochs: must be less than training.epochs, 2 (got 3), "
        "at training.epochs=2"
    )


def test_a_null_section_is_an_absent_one(load: Load) -> None:
    """A section whose keys are all commented out leaves the defaults."""
    spec = load("loss:\nsearch: {baseline: null}\nfine_tune: null\n")

    assert spec.keys == load().keys


def test_the_text_is_the_whole_spec(load: Load) -> None:
    """The records hold one file: extended, overridden, spaces in place and on one line."""
    spec = load("loss: {label_smoothing: {grid: [0, 0.1]}}\n", "seed=7")

    assert spec.text == (
        "name: try\n"
        "data:\n  dataset: digits\n"
        "model:\n  architecture: small_cnn\n"
        "training:\n  epochs: 4\n"
        "loss:\n  label_smoothing: {grid: [0, 0.1]}\n"
        "seed: 7\n"
    )


@pytest.mark.parametrize(
    "word", ["no", "1e-3", "0o17", "1_000", "2024-01-01", "<<", "null", "~"]
)
def test_words_that_look_like_something_else_stay_words(folder: Path, word: str) -> None:
    """A text that either version of YAML takes for another type is quoted when dumped."""
    (folder / "x.yaml").write_text(dump_yaml({**LEAST, "description": word}))

    assert load_spec("x.yaml").keys.description == word


@settings(max_examples=40)
@given(
    text=st.text(max_size=30),
    seed=st.integers(0, 2**32 - 1),
    smoothing=st.floats(0, 1, exclude_max=True),
    size=st.none() | st.integers(2, 10**9),
    deterministic=st.sampled_from([True, False, "warn", None]),
)
def test_a_dumped_spec_loads_to_the_same_keys(
    folder: Path, text: str, seed: int, smoothing: float, size: int | None, deterministic: Any
) -> None:
    """Whatever the values, the recorded text is read back as the spec that it came from."""
    data = {"dataset": "digits", "train_size": size}
    loss = {"label_smoothing": smoothing}
    values = {**LEAST, "description": text, "seed": seed, "data": data, "loss": loss}
    spec = load_spec({**values, "deterministic": deterministic})

    (folder / "again.yaml").write_text(spec.text, encoding="utf-8")
    again = load_spec("again.yaml")

    assert again.keys == spec.keys
    assert again.keys == Keys.model_validate({**values, "deterministic": deterministic})


def test_loading_needs_nothing_heavy() -> None:
    """Commands that only read text start without torch, Ray, MLflow and NumPy."""
    code = (
        "import sys, orchestrator.specs.load, orchestrator.specs.schema\n"
        "print([name for name in ('torch', 'ray', 'mlflow', 'numpy') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_all_mistakes_come_at_once_in_the_order_of_the_text(refused_whole: Refused) -> None:
    """One pass tells everything that is wrong, each with its line and column."""
    text = (
        "training: {epochs: 0}\n"
        "data:\n"
        "  batchsize: 3\n"
        "  dataset: digits\n"
        "loss: {label_smoothing: 1.5}\n"
        "seed: -1\n"
    )

    assert refused_whole(text, "optimizer.lr=0", "x") == (
        "x.yaml:1:1: name: required key is missing",
        "x.yaml:1:1: model.architecture: required key is missing",
        "x.yaml:1:20: training.epochs: must be at least 1 (got 0)",
        "x.yaml:3:3: data.batchsize: no such key; did you mean 'batch_size'?",
        "x.yaml:5:25: loss.label_smoothing: must be less than 1 (got 1.5)",
        "x.yaml:6:7: seed: must be at least 0 (got -1)",
        "override 'optimizer.lr=0': optimizer.lr: must be greater than 0 (got 0)",
        "override 'x': must look like key.sub=value",
    )
