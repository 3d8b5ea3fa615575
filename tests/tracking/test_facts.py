"""What a record says of the software and the working copy that made it."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from orchestrator.tracking.facts import describe_software


def git(*arguments: str) -> str:
    """What git says in the current folder."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.example"]
    said = subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


def test_versions_are_those_that_are_installed() -> None:
    """Python's and the packages'."""
    facts = describe_software()

    assert facts["python"] == platform.python_version()
    assert facts["torch"] == version("torch")
    assert facts["mlflow"] == version("mlflow")


def test_the_working_copy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of one nothing is said; a file that is not committed makes it dirty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "git.commit" not in describe_software()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "begin")
    clean = describe_software()
    (tmp_path / "new.txt").write_text("")
    dirty = describe_software()

    assert clean["git.commit"] == dirty["git.commit"] == git("rev-parse", "HEAD")
    assert (clean["git.dirty"], dirty["git.dirty"]) == ("false", "true")


def test_another_folders_working_copy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec's folder counts, wherever the command is given."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    spec_folder, elsewhere = tmp_path / "specs", tmp_path / "elsewhere"
    for folder in (spec_folder, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(spec_folder)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "begin")
    commit = git("rev-parse", "HEAD")
    monkeypatch.chdir(elsewhere)

    assert describe_software(spec_folder)["git.commit"] == commit
    assert "git.commit" not in describe_software()
