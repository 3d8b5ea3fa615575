"""Ctrl-C and kill: what was done is kept, what was not is marked, nothing runs on."""

import os
import signal
from pathlib import Path

import pytest

from orchestrator.launch.processes import list_descendants
from tests.journey.conftest import (
    Start,
    interrupt,
    processes_of,
    wait_for,
    wait_for_text,
)


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
