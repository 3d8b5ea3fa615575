"""What a command on a cluster's head leaves for the command that has submitted it.

`ray submit` passes no exit status on. So the head writes a small file, and whoever submitted it
fetches that: where there is none, the connection was lost.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from orchestrator.errors import SpecError

_NAME: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Word:
    """How a command has ended."""

    status: int
    """Its exit status."""
    folder: str
    """The search's folder on the head; empty where there is none."""


def find_word(submission: str) -> Path:
    """Where the word of a submission lies on the head.

    Raises:
        SpecError: It is no name of a submission.
    """
    if not _NAME.fullmatch(submission):
        raise SpecError([f"--submission: {submission!r} is no name that `run --cluster` gives"])
    return Path(f"/tmp/orchestrator-submission-{submission}.json")


def leave_word(submission: str, status: int, folder: Path | None) -> None:
    """Write it, whole or not at all."""
    path = find_word(submission)
    word = Word(status, "" if folder is None else str(folder))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(word)))
    part.rename(path)


def read_word(path: Path) -> Word:
    """What was left."""
    return Word(**json.loads(path.read_text()))
