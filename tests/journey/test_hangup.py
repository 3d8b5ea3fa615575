"""A terminal that goes away under a run: over SSH the run goes on, else it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import digests, processes_of, wait_for, wait_for_text
from tests.terminal import Terminal

SPEC = (
    "name: long\n"
    "data: {dataset: digits, train_size: 600, batch_size: 10}\n"
    "model: {architecture: small_cnn}\n"
    "training: {epochs: 60}\n"
)


def start(folder: Path, environment: dict[str, str]) -> Terminal:
    """The run, on a terminal."""
    command = [sys.executable, "-m", "orchestrator", "run", "long.yaml"]
    return Terminal(command, folder=folder, environment=environment)


def test_a_dropped_connection_ends_no_run(
    environment: dict[str, str], storage: Path, tmp_path: Path
) -> None:
    """The run goes on, says so in its folder, and has the numbers of an undisturbed one."""
    (tmp_path / "long.yaml").write_text(SPEC)
    over_ssh = {**environment, "SSH_CONNECTION": "203.0.113.7 50000 203.0.113.8 22"}
    terminal = start(tmp_path, over_ssh)
    wait_for_text(storage / "long" / "1" / "journal.jsonl", '"kind": "epoch"')

    terminal.hang_up()

    assert terminal.process.wait(200) == 0
    text = (storage / "long" / "1" / "output.txt").read_text()
    assert text.startswith("the connection was lost; the run goes on\n")
    assert "long#1: val/accuracy" in text
    assert "\x1b" not in text
    journal = (storage / "long" / "1" / "journal.jsonl").read_text()
    assert journal.count('"kind": "start"') == 1
    assert processes_of(str(storage)) == []
    again = subprocess.run(
        [sys.executable, "-m", "orchestrator", "run", "long.yaml", "--in-process"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert again.returncode == 0, again.stderr
    undisturbed = digests((storage / "long" / "2" / "journal.jsonl").read_text())
    assert set(digests(journal).values()) == set(undisturbed.values())


@pytest.mark.slow
def test_a_closed_window_ends_the_run(
    environment: dict[str, str], storage: Path, tmp_path: Path
) -> None:
    """Without SSH nobody could find the run again: it ends with its terminal."""
    (tmp_path / "long.yaml").write_text(SPEC)
    alone = {name: value for name, value in environment.items() if name != "SSH_CONNECTION"}
    terminal = start(tmp_path, alone)
    wait_for_text(storage / "long" / "1" / "journal.jsonl", '"kind": "epoch"')

    terminal.hang_up()

    assert terminal.process.wait(60) in (-signal.SIGHUP, 128 + signal.SIGHUP)
    wait_for(lambda: processes_of(str(storage)) == [], timeout_s=60)
