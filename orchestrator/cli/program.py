"""What to type for this program here."""

import shlex
import shutil
import sys
from pathlib import Path


def word_command() -> str:
    """`orchestrator`, or its path: its environment need not be the shell's."""
    program = Path(sys.argv[0])
    if program.name == "orchestrator" and not shutil.which("orchestrator"):
        return shlex.quote(str(program))
    return "orchestrator"
