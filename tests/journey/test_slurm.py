"""`slurm.sbatch` on one machine: Slurm's own two commands stand in for themselves."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journey.conftest import ROOT, processes_of, wait_for_text
from tests.slurm import describe_job, write_commands

Submit = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def submit(environment: dict[str, str], tmp_path: Path) -> Submit:
    """Start the script as Slurm would, on one node."""
    programs = tmp_path / "bin"
    write_commands(programs)

    def call(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["bash", str(ROOT / "slurm.sbatch"), *arguments],
            cwd=tmp_path,
            env={
                **environment,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "ORCHESTRATOR_PYTHON": sys.executable,
                "REQUEUED": str(tmp_path / "requeued"),
                **describe_job(os.getpid(), [os.uname().nodename], cpus=2),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return call


@pytest.mark.slow
def test_a_job_whose_time_is_over_goes_on_in_the_next(
    submit: Submit, small_spec: str, storage: Path, tmp_path: Path
) -> None:
    """Checkpoints, status 75, queued again; then to the end, with one answer."""
    changes = ["training.epochs=300", "search.seeds=1"]
    job = submit(small_spec, *changes)
    journal = storage / "small" / "1" / "journal.jsonl"
    wait_for_text(journal, '"epoch": 10')

    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=100)

    assert job.returncode == 75, out
    assert "stopped by SIGUSR1; go on with: " in out
    assert (tmp_path / "requeued").read_text() == f"{os.getpid()}\n"
    assert processes_of(str(storage)) == []
    again = submit(small_spec, *changes)
    out, _ = again.communicate(timeout=200)
    assert again.returncode == 0, out
    assert '"note": "resumed"' in journal.read_text()
    assert "label_smoothing=0.4" in out
    assert (tmp_path / "requeued").read_text().count("\n") == 1
    assert processes_of(str(storage)) == []


def test_the_script_is_valid_bash() -> None:
    """As bash reads it, with the directives that let it be queued again in time."""
    path = ROOT / "slurm.sbatch"
    done = subprocess.run(
        ["bash", "-n", str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    directives = [line for line in path.read_text().splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --signal=B:USR1@180" in directives
    assert "#SBATCH --requeue" in directives
