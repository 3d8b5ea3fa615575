"""Digests of an experiment: what changes them, and what does not."""

import re
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.submission.digest import check_digest, digest_experiment

SPEC = """
extends: base.yaml
name: mine
model: {architecture: "nets:build"}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """An experiment that extends another, with a network of its own that imports a module."""
    (tmp_path / "base.yaml").write_text("data: {dataset: digits}\ntraining: {epochs: 1}\n")
    (tmp_path / "nets.py").write_text("import blocks\n\ndef build():\n    raise RuntimeError\n")
    (tmp_path / "blocks.py").write_text("WIDTH = 8\n")
    (tmp_path / "mine.yaml").write_text(SPEC)
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize("name", ["mine.yaml", "base.yaml", "nets.py", "blocks.py"])
def test_every_file_of_it_counts(spec: Path, name: str) -> None:
    """The file, what it extends, its own modules and what these import: all without running."""
    code, before = digest_experiment(str(spec)).split("-")
    file = spec.parent / name
    file.write_text(f"{file.read_text()}# another thought\n")

    assert re.fullmatch(r"[0-9a-f]{8}", before)
    again = digest_experiment(str(spec))
    assert again.startswith(f"{code}-")
    assert not again.endswith(before)


def test_its_place_does_not_count(
    spec: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy elsewhere, under a relative name, has the same digest; a file beside it none."""
    copy = tmp_path_factory.mktemp("elsewhere")
    for file in spec.parent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "unrelated.py").write_text("x = 1\n")
    monkeypatch.chdir(copy)

    assert digest_experiment("mine.yaml") == digest_experiment(str(spec))


def test_something_else_is_not_run(spec: Path) -> None:
    """A digest of other code, or of another experiment, is refused, and which of them it is."""
    here = digest_experiment(str(spec))
    code, experiment = here.split("-")

    check_digest(str(spec), here)
    with pytest.raises(
        SpecError, match=r"mine\.yaml: orchestrator's code is not what was expec"
    ):
        check_digest(str(spec), f"00000000-{experiment}")
    with pytest.raises(SpecError, match=r"mine\.yaml: the experiment is not what was expected"):
        check_digest(str(spec), f"{code}-00000000")
