"""Ending everything below a process at once."""

import subprocess
import sys
from pathlib import Path

from orchestrator.launch.processes import kill_naming

TREE = """
import subprocess, sys, time
child = "import subprocess, sys, time; "
child += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
child += "print(p.pid, flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
grandchild = int(process.stdout.readline())
from orchestrator.launch.processes import kill_descendants, list_descendants
import os
print(list_descendants(os.getpid()) == [process.pid, grandchild])
kill_descendants()
print(process.wait())
for _ in range(1000):
    try:
        os.kill(grandchild, 0)
    except ProcessLookupError:
        print("gone")
        break
    stat = open(f"/proc/{grandchild}/stat").read().rpartition(")")[2].split()[0]
    if stat == "Z":
        print("gone")
        break
    time.sleep(0.01)
"""


def test_children_and_their_children_are_killed() -> None:
    """Nothing below the process is left, grandchildren included."""
    said = subprocess.run(
        [sys.executable, "-c", TREE], capture_output=True, text=True, check=True, timeout=60
    )

    assert said.stdout.split() == ["True", "-9", "gone"]


def test_processes_are_found_by_what_their_command_line_names(tmp_path: Path) -> None:
    """Of two processes only the one that names the folder is killed."""
    code = "import time; time.sleep(600)"
    ours = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    other = subprocess.Popen([sys.executable, "-c", code, "elsewhere"])

    kill_naming(str(tmp_path))

    assert ours.wait(60) == -9
    assert other.poll() is None
    other.kill()
    other.wait(60)
