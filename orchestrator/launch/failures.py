"""How what was raised is told: a line, with the user's own frame; a file with the rest."""

import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.errors import OrchestratorError

ERROR_FILE = "error.txt"


def describe_failure(error: Exception, folder: Path) -> dict[str, Any]:
    """The ending of a run that raised; the whole traceback goes to a file in its folder.

    The one line names the innermost place in code that is neither ours nor torch's: a user's
    mistake is in the user's file.

    Args:
        error: What training raised.
        folder: The run's folder.
    """
    path = folder / ERROR_FILE
    # What failed may be the disk.
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
    if isinstance(error, OrchestratorError):
        return {"status": "failed", "error": str(error), "traceback": str(path)}
    frame = _user_frame(error)
    cause = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    where = f"{frame.filename}:{frame.lineno} in {frame.name}: " if frame else ""
    return {"status": "failed", "error": f"{where}{cause}", "traceback": str(path)}


def _user_frame(error: Exception) -> traceback.FrameSummary | None:
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parents[1])
    foreign = ("site-packages", "dist-packages", ours, os.path.dirname(traceback.__file__))  # noqa: PTH120
    users = [f for f in frames if not any(part in f.filename for part in foreign)]
    candidates = users or [f for f in frames if f.filename.startswith(ours)]
    return candidates[-1] if candidates else None


def first_line(error: BaseException) -> str:
    """What an exception says first; Ray's often go on with advice."""
    return _first_sentence((str(error).strip() or type(error).__name__).splitlines()[0])


def last_line(error: BaseException) -> str:
    """The cause at the end of a remote traceback, likewise."""
    return _first_sentence((str(error).strip() or type(error).__name__).splitlines()[-1])


def _first_sentence(line: str) -> str:
    return line.strip().partition(". ")[0].removesuffix(".")
