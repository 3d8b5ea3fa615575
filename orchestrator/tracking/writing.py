"""A disk that is full or gone, told in one line instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
