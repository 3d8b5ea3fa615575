"""Ctrl-C and kill: what was done is kept, what was not is marked, nothing runs on."""

import os
import signal
from pathlib import Path

import pytest

from orchestrator.launch.processes import list_descendants
from tests.journey.conftest import (
    Orchestrate,
    Start,
    interrupt,
    processes_of,
    wait_for,
    wait_for_text,
)


def test_a_schedulers_notice_is_followed(
    start: Start, orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """SIGUSR1 to the command alone: a checkpoint, status 75, and the same command goes on."""
    changes = ["training.epochs=60", "search.seeds=1"]
    process = start("run", small_spec, *changes)
    wait_for_text(storage / "small" / "1" / "journal.jsonl", '"epoch": 10')

    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=100)

    assert process.returncode == 75, err + out
    assert err.splitlines()[-1].startswith("stopped by SIGUSR1; go on with: ")
    assert processes_of(str(storage)) == []
    again = orchestrate("run", small_spec, *changes)
    assert again.status == 0, again.err
    assert '"note": "resumed"' in (storage / "small" / "1" / "journal.jsonl").read_text()


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
    # Two that come at once may count as one.
    wait_for_text(storage / "small" / "1" / "journal.jsonl", '"status": "stopped"')
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert processes_of(str(storage)) == []
    assert err.splitlines()[-1].startswith("ended at once; go on with: ")
    assert "resume small#1" in err


def _commands(driver: int) -> list[bytes]:
    return [_command(process) for process in list_descendants(driver)]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
