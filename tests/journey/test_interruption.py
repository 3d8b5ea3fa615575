"""Ctrl-C and kill: what was done is kept, what was not is marked, nothing runs on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.launch.processes import list_descendants
from tests.journey.conftest import (
    Orchestrate,
    digests,
    interrupt,
    mlflow_runs,
    processes_of,
    wait_for,
    wait_for_text,
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Start:
    """Start a command in a process group of its own, as a shell does."""

    def call(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    return call


def test_ctrl_c_keeps_what_was_done(
    start: Start, orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """The first Ctrl-C stops with status 130, finished runs stay, the rest is marked."""
    process = start("run", small_spec, "search.seeds=20", "training.epochs=20")
    wait_for_text(storage / "small" / "1" / "journal.jsonl", '"status": "finished"')

    interrupt(process)
    out, err = process.communicate(timeout=100)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert processes_of(str(storage)) == []
    assert "the search was stopped: " in out
    statuses = set(mlflow_runs(storage).values())
    assert "RUNNING" not in statuses
    assert {"FINISHED", "KILLED"} <= statuses
    compared = orchestrate("compare", "small")
    assert "the search was stopped" in compared.out


def test_ctrl_c_while_ray_starts_leaves_nothing(
    start: Start, small_spec: str, storage: Path
) -> None:
    """Interrupted before there is a lane, Ray's half-started processes are ended too."""
    process = start("run", small_spec)
    wait_for(lambda: any(b"raylet" in command for command in _commands(process.pid)))

    interrupt(process)
    _, err = process.communicate(timeout=100)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert processes_of(str(storage)) == []
    assert '"status": "stopped"' in (storage / "small" / "1" / "journal.jsonl").read_text()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(start: Start, small_spec: str, storage: Path) -> None:
    """Twice leaves no process, and the next command finds nothing running."""
    process = start("run", small_spec, "search.seeds=20", "training.epochs=2000")
    wait_for_text(storage / "small" / "1" / "journal.jsonl", '"kind": "epoch"')

    interrupt(process)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert processes_of(str(storage)) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_costs_nothing_but_time(
    start: Start, orchestrate: Orchestrate, small_spec: str, storage: Path, workers: int
) -> None:
    """SIGKILL of a lane's worker: its runs begin again and end with the same weights."""
    changes = ["training.epochs=30", f"resources.num_workers={workers}"]
    undisturbed = orchestrate("run", small_spec, *changes)
    assert undisturbed.status == 0, undisturbed.err
    process = start("run", small_spec, *changes)
    second = storage / "small" / "2" / "journal.jsonl"
    wait_for_text(second, '"kind": "epoch"')

    os.kill(_lane_worker(process.pid), signal.SIGKILL)
    out, err = process.communicate(timeout=250)

    assert process.returncode == 0, err + out
    assert '"attempt": 2' in second.read_text()
    first = digests((storage / "small" / "1" / "journal.jsonl").read_text())
    again = digests(second.read_text())
    assert {run.partition("/1/")[2]: digest for run, digest in first.items()} == {
        run.partition("/2/")[2]: digest for run, digest in again.items()
    }


@pytest.mark.slow
def test_a_killed_driver_leaves_no_run_running(
    start: Start, orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """After SIGKILL of the command, the next one closes its records and MLflow's runs."""
    process = start("run", small_spec, "search.seeds=20", "training.epochs=20")
    wait_for_text(storage / "small" / "1" / "journal.jsonl", '"status": "finished"')

    process.kill()
    process.communicate(timeout=60)
    compared = orchestrate("compare", "small")

    assert compared.status == 0, compared.err
    assert "the search was stopped: " in compared.out
    statuses = set(mlflow_runs(storage).values())
    assert "RUNNING" not in statuses
    assert "KILLED" in statuses


def _lane_worker(driver: int) -> int:
    """The process of a lane, which Ray names after its class."""
    for process in list_descendants(driver):
        if b"RayTrainWorker" in _command(process):
            return process
    raise LookupError("no lane's worker is running")


def _commands(driver: int) -> list[bytes]:
    return [_command(process) for process in list_descendants(driver)]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
