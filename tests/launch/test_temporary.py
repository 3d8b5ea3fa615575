"""Temporary folders: those of killed commands go, and no others."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator.launch import temporary
from orchestrator.launch.temporary import (
    keep_folder,
    make_temporary_folder,
    remove_left_folders,
    remove_temporary_folders,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds all temporary folders of a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary, "_SHORT", str(tmp_path))
    return tmp_path


@pytest.fixture
def killed() -> int:
    """Id of a process that was, and is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(60)
    return process.pid


def test_what_a_killed_command_has_left_is_removed(folder: Path, killed: int) -> None:
    """By the next one that makes a folder; what is to be looked into stays."""
    left, kept = (folder / f"orchestrator-{killed}-{name}" for name in "ab")
    other = folder / "orchestrator-notes"
    for path in (left / "session_1" / "logs", kept, other):
        path.mkdir(parents=True)
    keep_folder(kept)

    made = make_temporary_folder()

    assert sorted(folder.iterdir()) == sorted([made, kept, other])


def test_folders_in_use_stay(folder: Path, killed: int) -> None:
    """Of a process that lives, that a process names, or locked from where ids differ."""
    code = "import time; print(flush=True); time.sleep(600)"
    elsewhere = make_temporary_folder().rename(folder / f"orchestrator-{killed}-locked")
    named = folder / f"orchestrator-{killed}-named"
    named.mkdir()
    command = [sys.executable, "-c", code, str(named)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    living = folder / f"orchestrator-{process.pid}-alive"
    living.mkdir()

    remove_left_folders()
    found = sorted(folder.iterdir())
    process.kill()
    process.communicate(timeout=60)
    remove_left_folders()

    assert found == sorted([named, elsewhere, living])
    assert list(folder.iterdir()) == [elsewhere]


def test_a_command_that_ends_at_once_takes_its_own_along(folder: Path, killed: int) -> None:
    """And no other's."""
    make_temporary_folder()
    other = folder / f"orchestrator-{killed}-x"
    other.mkdir()

    remove_temporary_folders()

    assert list(folder.iterdir()) == [other]
