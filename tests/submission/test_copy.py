"""The one file that `ray submit` copies, as it runs in the head's home folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = (
    "name: one\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
    "training: {epochs: 1}\n"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with the copy, and a project with a spec and the package."""
    shutil.copy(ROOT / "orchestrator" / "__main__.py", tmp_path / "__main__.py")
    (tmp_path / "project" / "experiments").mkdir(parents=True)
    (tmp_path / "project" / "experiments" / "one.yaml").write_text(SPEC)
    (tmp_path / "project" / "orchestrator").symlink_to(ROOT / "orchestrator")
    return tmp_path


def run_copy(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As `ray submit` calls it; no installed package stands in."""
    return subprocess.run(
        [sys.executable, "__main__.py", *arguments],
        cwd=home,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_finds_the_project(home: Path) -> None:
    """The first folder that the cluster's file syncs: commands run in it, with its code."""
    config = {"file_mounts": {"~/.ray/auth_token": "x", "~/project": "~/project"}}
    (home / "ray_bootstrap_config.yaml").write_text(json.dumps(config))

    said = run_copy(home, "validate", "experiments/one.yaml")

    assert (said.returncode, said.stderr) == (0, "")
    # With a copy of that code: what is synced later changes nothing under a run.
    (kept,) = (home / ".cache" / "orchestrator" / "code").iterdir()
    assert (kept / "orchestrator" / "cli" / "validate.py").is_file()
    run_copy(home, "validate", "experiments/one.yaml")
    assert list((home / ".cache" / "orchestrator" / "code").iterdir()) == [kept]


def test_elsewhere_it_says_what_it_is(home: Path) -> None:
    """On a machine that is no cluster's head it ends with one line, and no traceback."""
    said = run_copy(home, "validate", "experiments/one.yaml")

    assert said.returncode != 0
    (line,) = said.stderr.splitlines()
    assert "only `ray submit` can run a copy of orchestrator/__main__.py" in line


def test_it_runs_by_its_path_too(home: Path) -> None:
    """`python orchestrator/__main__.py`, for `ray job submit`, imports what lies beside it."""
    said = subprocess.run(
        [sys.executable, "orchestrator/__main__.py", "validate", "experiments/one.yaml"],
        cwd=home / "project",
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (said.returncode, said.stderr) == (0, "")
