"""Ray's own command line, called as its user would call it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError
from orchestrator.submission.cluster_file import ClusterFile

_RAY: Final = (sys.executable, "-m", "ray.scripts.scripts")
_SCRIPT: Final = Path(__file__).parents[1] / "__main__.py"
"""The one file that `ray submit` copies."""
_TELLING: Final = ("not found!", "ssh:", "Permission denied", "Error", "error")
"""What marks the line that says why, from the most telling on."""


class RayCommands:
    """`ray` with a cluster's file.

    Args:
        cluster: The file.
    """

    def __init__(self, cluster: ClusterFile) -> None:
        self._cluster = cluster

    def find_head(self) -> str:
        """The address of the cluster's head.

        Raises:
            InfeasibleError: There is none, or its provider cannot be asked.
        """
        said = self._call("get-head-ip")
        if said.returncode:
            why = _find_reason(said)
            if "not found!" in why:
                why = "the cluster is not up"
            raise InfeasibleError(f"{self._file}: {why}; to start it: ray up {self._file}")
        return said.stdout.strip().splitlines()[-1]

    def sync(self) -> None:
        """Copy what the file mounts to the head.

        Raises:
            InfeasibleError: The head does not answer over SSH.
        """
        said = self._call("rsync-up")
        if said.returncode:
            raise InfeasibleError(
                f"{self._file}: no SSH to the head ({_find_reason(said)}); is it on, is its "
                "port 22 open to this address, is auth.ssh_private_key its key?"
            )

    def submit(self, arguments: Sequence[str]) -> None:
        """Run a command of ours on the head, in this terminal; how it ended, it does not say.

        Args:
            arguments: Of `orchestrator`.
        """
        # Ray joins the words and hands them on to a shell.
        words = [shlex.quote(word) for word in arguments]
        # Without a terminal Ray would tell every step of its own.
        command = [*_RAY, "submit", "--log-style", "pretty", str(self._cluster.path)]
        command += ["--", str(_SCRIPT), *words]
        subprocess.run(command, cwd=self._folder, env=self._environment(), check=False)

    def fetch(self, source: str, target: Path) -> bool:
        """Copy a file, or what a folder holds (`source/`), here; whether that was possible."""
        shown = f"{target}/" if source.endswith("/") else str(target)
        return self._call("rsync-down", source, shown).returncode == 0

    @property
    def _file(self) -> str:
        return os.path.relpath(self._cluster.path)

    @property
    def _folder(self) -> Path:
        # What the file mounts is relative to the folder that Ray is called in.
        return self._cluster.path.parent

    def _call(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*_RAY, verb, str(self._cluster.path), *arguments],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0", **os.environ}


def _find_reason(said: "subprocess.CompletedProcess[str]") -> str:
    lines = [line.strip() for line in (said.stderr + said.stdout).splitlines() if line.strip()]
    for mark in _TELLING:
        for line in lines:
            if mark in line:
                return line
    return lines[-1] if lines else f"exit status {said.returncode}"
