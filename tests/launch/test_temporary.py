"""Temporary folders: those of killed commands go, and no others."""

import os
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

MAKE = """
import sys, tempfile, time
from orchestrator.launch import temporary
tempfile.tempdir = temporary._SHORT = sys.argv[1]
print(temporary.make_temporary_folder(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds all temporary folders of a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary, "_SHORT", str(tmp_path))
    return tmp_path


def make_elsewhere(folder: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process that lives in a temporary folder, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(temporary.__file__).parents[2])},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: "subprocess.Popen[str]") -> None:
    """SIGKILL, and wait."""
    process.kill()
    process.communicate(timeout=60)


def test_what_a_killed_command_has_left_is_removed(folder: Path) -> None:
    """By the next one that makes a folder; what is to be looked into stays, and what lives."""
    made = [make_elsewhere(folder) for _ in range(3)]
    (left, gone), (kept, stays), (living, lives) = made
    keep_folder(stays)
    end(left)
    end(kept)

    mine = make_temporary_folder()

    assert sorted(folder.iterdir()) == sorted([mine, stays, lives])
    assert not gone.exists()
    end(living)


def test_a_folder_that_a_process_names_stays(folder: Path) -> None:
    """A Ray that outlives its command for some seconds still writes there."""
    maker, left = make_elsewhere(folder)
    code = "print(flush=True); import time; time.sleep(600)"
    user = subprocess.Popen(
        [sys.executable, "-c", code, str(left)], stdout=subprocess.PIPE, text=True
    )
    assert user.stdout is not None
    user.stdout.readline()
    end(maker)

    remove_left_folders()
    assert left.is_dir()

    end(user)
    remove_left_folders()
    assert not left.exists()


def test_what_others_name_alike_stays(folder: Path) -> None:
    """Their own notes and backups, and a folder of our form that we have not locked."""
    names = ("notes", "2024-06-backup", "99999999-thesis-results", "99999999-abcdefgh")
    theirs = [folder / f"orchestrator-{name}" for name in names]
    for path in theirs:
        path.mkdir()

    remove_left_folders()

    assert sorted(folder.iterdir()) == sorted(theirs)


def test_a_command_that_ends_at_once_takes_its_own_along(folder: Path) -> None:
    """And no other's, whatever its process id."""
    process, other = make_elsewhere(folder)
    make_temporary_folder()

    remove_temporary_folders()

    assert list(folder.iterdir()) == [other]
    end(process)
