"""Files, and what they extend: laid over each other, each mistake in its own file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.specs.search import Grid

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]


def write(folder: Path, **texts: str) -> None:
    """Write each text to a YAML file of its name."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)


def message_of(path: str | Path) -> str:
    """Return what is said of a file that cannot be loaded."""
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_named() -> None:
    """The path is shown as it was given."""
    assert message_of("no/such.yaml") == "no/such.yaml: no such file"


def test_a_folder_is_no_file(folder: Path) -> None:
    """A folder is named as one."""
    assert message_of(folder) == f"{folder}: is a folder, not a file"


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_read_says_why() -> None:
    """The system's own reason is shown."""
    assert message_of("a" * 300).endswith(": cannot be read: File name too long")


def test_an_empty_file_is_refused(folder: Path) -> None:
    """A file of comments alone is no experiment."""
    write(folder, x="# nothing yet\n")

    assert message_of("x.yaml") == "x.yaml: is empty"


def test_the_top_must_be_a_map(folder: Path) -> None:
    """A list is no experiment."""
    write(folder, x="# a list\n- 1\n")

    assert message_of("x.yaml") == "x.yaml:2:1: must be a map of keys (got a list)"


def test_a_file_must_be_text(folder: Path) -> None:
    """Bytes that are not UTF-8 are refused with their line."""
    (folder / "x.yaml").write_bytes(b"name: x\n# caf\xe9\n")

    assert message_of("x.yaml") == "x.yaml: is not UTF-8 text (line 2)"


def test_a_byte_order_mark_is_no_part_of_the_text(load: Load, folder: Path) -> None:
    """Files that an editor on Windows saved are read as they look."""
    text = load().text.replace("\n", "\r\n")
    (folder / "w.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert load_spec("w.yaml").keys == load().keys


def test_large_files_are_refused(folder: Path) -> None:
    """More than a MiB is not an experiment."""
    write(folder, x="#" * (2**20 + 1))

    assert message_of("x.yaml") == "x.yaml: is larger than 1 MiB"


def test_maps_merge_and_lists_and_spaces_replace(load: Load, folder: Path) -> None:
    """The extending file wins key by key; a space is never merged with a space or a value."""
    base = "loss: {label_smoothing: {grid: [0, 0.1]}}\noptimizer: {lr: 0.1, momentum: 0.5}\n"
    write(folder, base=base)

    spec = load(
        "extends: base.yaml\n"
        "loss: {label_smoothing: {choice: [0.2]}}\n"
        "optimizer: {lr: {grid: [1]}}\n"
        "search: {algorithm: random, num_trials: 1, baseline: {label_smoothing: 0, lr: 1}}\n"
    )

    assert list(spec.spaces) == ["loss.label_smoothing", "optimizer.lr"]
    assert spec.spaces["optimizer.lr"] == Grid((1.0,))
    assert spec.keys.loss.label_smoothing == 0.2
    assert spec.keys.optimizer.momentum == 0.5


def test_later_files_win(load: Load, folder: Path) -> None:
    """In a list, each file is laid over the ones before it."""
    write(folder, a="seed: 1\ndescription: a\n", b="seed: 2\n")

    keys = load("extends: [a.yaml, b.yaml]\n").keys

    assert (keys.seed, keys.description) == (2, "a")


def test_extends_is_relative_to_the_file_that_says_it(load: Load, folder: Path) -> None:
    """A file may be extended from anywhere, with the paths that it names."""
    (folder / "shared").mkdir()
    write(folder / "shared", a="extends: b.yaml\n", b="storage_path: ../out\n")

    assert load("extends: shared/a.yaml\n").keys.storage_path == str(folder / "out")


def test_a_map_may_extend_a_file(folder: Path) -> None:
    """From Python, extends is relative to the current folder."""
    write(
        folder,
        base="name: try\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n",
    )

    assert load_spec({"extends": "base.yaml", "training": {"epochs": 1}}).keys.name == "try"


def test_a_mistake_keeps_its_file(refused: Refused, folder: Path) -> None:
    """What is wrong in an extended file is shown there, after the file's own mistakes."""
    write(folder, base="\nloss: {label_smoothing: 2}\nsee: 1\n")

    assert refused("extends: base.yaml\nseed: -1\n") == (
        "x.yaml:6:7: seed: must be at least 0 (got -1)",
        "base.yaml:2:25: loss.label_smoothing: must be less than 1 (got 2)",
        "base.yaml:3:1: see: no such key; did you mean 'seed'?",
    )


def test_circles_are_refused(refused: Refused, folder: Path) -> None:
    """A file that extends itself, over any number of others, is named with the whole chain."""
    write(folder, a="extends: b.yaml\n", b="seed: 1\nextends: [a.yaml]\n")

    assert refused("extends: a.yaml\n") == (
        "b.yaml:2:11: extends: goes round in a circle, a.yaml -> b.yaml -> a.yaml "
        "(got 'a.yaml')",
    )


def test_a_diamond_is_no_circle(load: Load, folder: Path) -> None:
    """Two files may extend the same third."""
    write(folder, a="extends: c.yaml\n", b="extends: c.yaml\n", c="seed: 5\n")

    assert load("extends: [a.yaml, b.yaml]\n").keys.seed == 5


def test_what_cannot_be_extended_is_refused_where_it_is_named(refused: Refused) -> None:
    """Each bad entry of extends is a mistake of the file that says it."""
    assert refused("extends: [no.yaml, 3, '${NO_SUCH_VARIABLE}.yaml', .]\n") == (
        "x.yaml:5:11: extends: no such file (got 'no.yaml')",
        "x.yaml:5:20: extends: must be a file or a list of files (got 3)",
        "x.yaml:5:23: extends: the environment variable NO_SUCH_VARIABLE is not set "
        "(got '${NO_SUCH_VARIABLE}.yaml')",
        "x.yaml:5:51: extends: is a folder, not a file (got '.')",
    )
