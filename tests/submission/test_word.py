"""What the head leaves for whoever has submitted to it."""

from pathlib import Path

import pytest

from orchestrator.cli.main import run_command_line
from orchestrator.errors import SpecError
from orchestrator.submission.word import find_word, read_word

NAME = "0123456789abcdef0123456789abcdef"
SPEC = (
    "name: one\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
    "training: {epochs: 1}\nresources: {num_workers: 9999}\n"
)


@pytest.mark.parametrize("name", ["x", "../etc/passwd", NAME.upper(), f"{NAME}/x", f"{NAME}0"])
def test_only_our_names_are_taken(name: str) -> None:
    """A name becomes a file's: nothing else than what `run --cluster` gives is one."""
    with pytest.raises(SpecError, match="is no name that `run --cluster` gives"):
        find_word(name)


def test_a_refusal_is_in_the_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the head cannot do is told there; its status is in the word, not the process's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Path("one.yaml").write_text(SPEC)
    word = find_word(NAME)
    word.unlink(missing_ok=True)

    try:
        status = run_command_line(["run", "one.yaml", "--submission", NAME])

        assert status == 0
        assert "resources.num_workers: 9999 workers" in capsys.readouterr().err
        assert read_word(word).status == 3
        assert read_word(word).folder == ""
    finally:
        word.unlink(missing_ok=True)
