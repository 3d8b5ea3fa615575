"""Experiment files in a folder of the test's own, which is the current one: `x.yaml`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec

# Four lines, so that what a test adds begins on line 5.
MINIMAL = """\
name: try
data: {dataset: digits}
model: {architecture: small_cnn}
training: {epochs: 4}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the test's own folder the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Callable[..., ExperimentSpec]:
    """Load the least spec there is with these lines added."""

    def load_with(lines: str = "", *overrides: str) -> ExperimentSpec:
        (folder / "x.yaml").write_text(MINIMAL + lines)
        return load_spec("x.yaml", overrides)

    return load_with


@pytest.fixture
def refused(folder: Path) -> Callable[..., Sequence[str]]:
    """Return the mistakes of the least spec with these lines added."""

    def refused_with(lines: str, *overrides: str) -> Sequence[str]:
        return mistakes_of(folder, MINIMAL + lines, overrides)

    return refused_with


@pytest.fixture
def refused_whole(folder: Path) -> Callable[..., Sequence[str]]:
    """Return the mistakes of a whole file."""

    def refused_text(text: str, *overrides: str) -> Sequence[str]:
        return mistakes_of(folder, text, overrides)

    return refused_text


def mistakes_of(folder: Path, text: str, overrides: Sequence[str]) -> Sequence[str]:
    """Write the file and return what is wrong with it."""
    (folder / "x.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec("x.yaml", overrides)
    return caught.value.mistakes
