"""What can go wrong, one class per stage, each with the exit status that a shell sees.

Everything here is the user's to mend: the command line prints the message without a traceback.
A mistake of our own stays a `ValueError` or an assertion and keeps its traceback.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it."""


class OrchestratorError(Exception):
    """Root of everything that a user can mend."""

    exit_status: ClassVar[int] = 1


class SpecError(OrchestratorError):
    """The experiment file asks for something that does not exist or contradicts itself.

    Args:
        mistakes: One line each, `where: what (what was given); what to do`.
    """

    exit_status: ClassVar[int] = 2

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class InfeasibleError(OrchestratorError):
    """The machines at hand cannot do it: too few CPUs or GPUs, no writable storage."""

    exit_status: ClassVar[int] = 3


class TrainingError(OrchestratorError):
    """Every run failed, or the only one did."""

    exit_status: ClassVar[int] = 4


@contextmanager
def nothing_is_trained() -> Iterator[None]:
    """Take what training refuses for a mistake of the command: there is no run that failed.

    Raises:
        SpecError: Something within raised a `TrainingError`.
    """
    try:
        yield
    except TrainingError as error:
        raise SpecError([str(error)]) from error


class RecordError(OrchestratorError):
    """A name, number or run was asked for that no record knows."""

    exit_status: ClassVar[int] = 2


class PreemptedError(OrchestratorError):
    """A scheduler takes the machine away; the same command goes on, here or elsewhere."""

    exit_status: ClassVar[int] = 75
    """EX_TEMPFAIL of sysexits.h: try again."""


class LostRayError(TrainingError):
    """Ray, or a process of ours that it held, died under a search."""


class MachinesChangedError(LostRayError):
    """A machine on which a search trains is gone, or one that it lacked has come.

    Args:
        message: What has changed.
        room: Lanes, and workers of each, that there is room for; None where a machine is gone.
    """

    def __init__(self, message: str, room: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.room = room


class NonFiniteLossError(TrainingError):
    """A run's loss turned to NaN or infinity."""
