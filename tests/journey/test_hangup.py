"""A terminal that goes away under a run: over SSH the run goes on, else it ends."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.journey.conftest import digests, processes_of, wait_for, wait_for_text

SPEC = (
    "name: long\n"
    "data: {dataset: digits, train_size: 600, batch_size: 10}\n"
    "model: {architecture: small_cnn}\n"
    "training: {epochs: 60}\n"
)


class Terminal:
    """A terminal that a command has to itself, as a login has it, and somebody who looks on.

    Args:
        folder: Where the command runs.
        environment: Its variables.
        arguments: Of `orchestrator`.
    """

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            # The session is its own, so that it hears of the terminal's end.
            ["setsid", "--ctty", "--wait", sys.executable, "-m", "orchestrator", *arguments],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._closing = threading.Event()
        # Where nobody reads, a command waits for its screen.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def hang_up(self) -> None:
        """Let the terminal be gone."""
        self._closing.set()
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while not self._closing.is_set():
            if select.select([self._ours], [], [], 0.1)[0]:
                with suppress(OSError):
                    os.read(self._ours, 65536)


def test_a_dropped_connection_ends_no_run(
    environment: dict[str, str], storage: Path, tmp_path: Path
) -> None:
    """The run goes on, says so in its folder, and has the numbers of an undisturbed one."""
    (tmp_path / "long.yaml").write_text(SPEC)
    over_ssh = {**environment, "SSH_CONNECTION": "203.0.113.7 50000 203.0.113.8 22"}
    terminal = Terminal(tmp_path, over_ssh, "run", "long.yaml")
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
    terminal = Terminal(tmp_path, alone, "run", "long.yaml")
    wait_for_text(storage / "long" / "1" / "journal.jsonl", '"kind": "epoch"')

    terminal.hang_up()

    assert terminal.process.wait(60) in (-signal.SIGHUP, 128 + signal.SIGHUP)
    wait_for(lambda: processes_of(str(storage)) == [], timeout_s=60)
