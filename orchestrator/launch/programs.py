"""Programs of ours that know torch alone: started beside this one, and waited for together."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from orchestrator.errors import TrainingError
from orchestrator.launch.environment import WORKER_SETTINGS

_PACKAGE: Final = Path(__file__).parents[2]
_RANK: Final = re.compile(r"^\[rank\d+\]: ")
"""torch's mark on what a worker among several says of its end."""
_REFUSAL: Final = re.compile(r"^orchestrator\.[\w.]+Error: ")
"""How Python begins what it says of an exception of ours; its text may have several lines."""
_FRAME: Final = re.compile(r'^  File ".*", line \d+')
Program = subprocess.Popen[str]


class CrashedError(TrainingError):
    """A program ended in anything but a result or a refusal of ours."""


def begin_program(module: str, argument: str) -> Program:
    """Start a module of `orchestrator.training` as a program.

    Args:
        module: Its name.
        argument: The only argument.
    """
    path = os.pathsep.join(filter(None, [str(_PACKAGE), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-m", f"orchestrator.training.{module}", argument],
        env={**os.environ, **WORKER_SETTINGS, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def wait_for_programs(programs: Sequence[Program]) -> list[str]:
    """What each of them printed; once one has failed, the others are ended.

    All are read at the same time: one that prints much would wait for its reader, and others
    for it.

    Raises:
        TrainingError: One refused its task; in our words.
        CrashedError: One failed in any other way; with its last line.
    """
    ended: SimpleQueue[int] = SimpleQueue()
    said = [("", "")] * len(programs)

    def read(index: int) -> None:
        said[index] = programs[index].communicate()
        ended.put(index)

    readers = [threading.Thread(target=read, args=(n,)) for n in range(len(programs))]
    for reader in readers:
        reader.start()
    try:
        for _ in programs:
            index = ended.get()
            if status := programs[index].returncode:
                raise word_failure(said[index][1], status)
    finally:
        for program in programs:
            program.kill()
        for reader in readers:
            reader.join()
    return [out for out, _ in said]


def word_failure(err: str, status: int) -> TrainingError:
    """What a program's last words mean.

    Args:
        err: All that it has said beside its result.
        status: That it has ended with.
    """
    lines = [_RANK.sub("", line) for line in err.splitlines() if line.strip()]
    if not lines:
        return CrashedError(f"ended with status {status}")
    # What stands before a traceback's last frame was said of something else.
    frames = [index for index, line in enumerate(lines) if _FRAME.match(line)]
    words = lines[frames[-1] + 1 :] if frames else lines
    for index, line in enumerate(words):
        if _REFUSAL.match(line):
            return TrainingError("\n".join([_REFUSAL.sub("", line), *words[index + 1 :]]))
    return CrashedError(lines[-1])
