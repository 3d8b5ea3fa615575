"""Files of the records, whole or not at all; a disk that is full or gone, told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from orchestrator.errors import InfeasibleError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Write a file of the records.

    Raises:
        InfeasibleError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InfeasibleError(
            f"cannot write {path} ({error.strerror}); what was recorded before is kept"
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step, under nobody else's name until it is whole.

    Args:
        path: Where it shall be; its folder is made.
        text: All of it.

    Raises:
        InfeasibleError: It cannot be written; nothing half-written is left.
    """
    unfinished = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
