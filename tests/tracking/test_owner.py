"""Whether the process that wrote a journal still lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.tracking.owner import describe_owner, is_alive


def test_this_process_is_alive() -> None:
    """Its number and its start are told."""
    owner = describe_owner()

    assert owner["pid"] == os.getpid()
    assert is_alive(owner) is True


def test_a_killed_process_is_dead() -> None:
    """Before its parent has asked how it ended, and afterwards."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    owner = {**describe_owner(), "pid": child.pid, "started": started}
    assert is_alive(owner) is True

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert is_alive(owner) is False
    child.wait()
    assert is_alive(owner) is False


def test_a_later_process_of_the_same_number_is_not_the_owner() -> None:
    """Numbers are used again; the time of the start tells."""
    assert is_alive({**describe_owner(), "started": "1"}) is False


def test_nothing_lives_through_a_restart_of_the_machine() -> None:
    """Another boot of the same host."""
    assert is_alive({**describe_owner(), "boot": "another"}) is False


def test_another_machines_processes_are_unknown() -> None:
    """Neither alive nor dead."""
    assert is_alive({**describe_owner(), "host": "another"}) is None


def test_a_name_with_spaces_and_parentheses_is_read(tmp_path: Path) -> None:
    """The kernel puts the command's name, whatever it holds, between parentheses."""
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/cat")
    if not Path("/bin/cat").exists():
        pytest.skip("no /bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as child:
        started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]

        assert is_alive({**describe_owner(), "pid": child.pid, "started": started}) is True
