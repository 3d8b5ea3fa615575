"""Ctrl-C, twice; and a scheduler's notice."""

import signal
import subprocess
import sys

import pytest

from orchestrator.cli.interrupt import stopped_by_signals
from orchestrator.errors import PreemptedError

INTERRUPTED = """
import os, signal, time
from orchestrator.cli.interrupt import stopped_by_signals
with stopped_by_signals(lambda: "x"):
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

    assert (process.returncode, err) == (130, "ended at once; go on with: x\n")


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGUSR1])
def test_a_schedulers_notice_stops_to_be_begun_again(notice: signal.Signals) -> None:
    """Exit status 75, with the command that goes on; a second notice changes nothing."""
    before = signal.getsignal(notice)

    with pytest.raises(PreemptedError) as caught, stopped_by_signals(lambda: "resume x"):
        stop_twice(notice)

    assert str(caught.value) == f"stopped by {notice.name}; go on with: resume x"
    assert caught.value.exit_status == 75
    assert signal.getsignal(notice) == before


def stop_twice(notice: signal.Signals) -> None:
    """What is stopped is left in peace until it has stopped."""
    try:
        signal.raise_signal(notice)
    finally:
        signal.raise_signal(notice)
