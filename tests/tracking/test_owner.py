"""Who drives a search is known by a lock, not by a process number."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestrator.tracking.owner import LOCK_NAME, describe_owner, is_in_reach, own

DRIVER = """
import sys
from pathlib import Path
from orchestrator.tracking.owner import own
with own(Path(sys.argv[1])) as is_ours:
    print(is_ours, flush=True)
    input()
"""


def test_one_owns_a_search_at_a_time(tmp_path: Path) -> None:
    """Within one process too; afterwards it is free again."""
    with own(tmp_path) as first, own(tmp_path) as second:
        assert first
        assert not second

    with own(tmp_path) as later:
        assert later
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]


def test_a_killed_process_owns_nothing(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    """Even before its parent has asked how it ended."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        env=child_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        with own(tmp_path) as is_ours:
            assert not is_ours

        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        with own(tmp_path) as is_ours:
            assert is_ours


def test_this_machine_is_in_reach_under_any_name() -> None:
    """A container has its own host name; a restart changes the other half."""
    owner = describe_owner()

    assert owner["pid"] == os.getpid()
    assert is_in_reach(owner)
    assert is_in_reach({**owner, "host": "container"})
    assert is_in_reach({**owner, "boot": "before"})
    assert not is_in_reach({**owner, "host": "another", "boot": "another"})
