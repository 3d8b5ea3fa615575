"""Ctrl-C, twice."""

import signal
import subprocess
import sys

INTERRUPTED = """
import os, signal, time
from orchestrator.cli.interrupt import second_interrupt_ends_at_once
with second_interrupt_ends_at_once(lambda: "go on with: x"):
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("stopping", flush=True)
        time.sleep(600)
"""


def test_the_second_says_how_to_go_on() -> None:
    """One line on standard error, after which the process has ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None

    for word in ("ready", "stopping"):
        assert process.stdout.readline() == f"{word}\n"
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (130, "go on with: x\n")
