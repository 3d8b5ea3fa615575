"""How often a search has lost its lanes: to a Ray that died, to machines that came and went."""

from typing import Final

from orchestrator.errors import LostRayError, MachinesChangedError
from orchestrator.tracking.history import SearchHistory

ENDED: Final = ("finished", "failed")
"""Status of a run that needs no lane any more."""
_STARTS: Final = 3
"""Of Ray and the lanes, until a search is given up."""
_STALLED: Final = 5
"""Changes of the machines between which no run has come further, until one is given up."""


class Setbacks:
    """Counts them, and gives a search up.

    Args:
        history: The search, followed by whoever counts.
    """

    def __init__(self, history: SearchHistory) -> None:
        self._history = history
        self._deaths = 0
        self._stalled = 0
        self._progress: object = None

    def take(self, error: LostRayError) -> None:
        """Count one.

        Raises:
            LostRayError: It was one too many.
        """
        if not isinstance(error, MachinesChangedError):
            self._deaths += 1
            if self._deaths == _STARTS:
                raise error
            return
        # Machines come and go; a run that takes down each one that it is given is given up.
        progress, before = self._measure(), self._progress
        self._progress = progress
        self._stalled = self._stalled + 1 if progress == before else 0
        if self._stalled == _STALLED:
            times = f"{_STALLED} times in a row"
            raise LostRayError(f"{error}, and no run has come further {times}") from error

    def _measure(self) -> object:
        """Epochs, endings and checkpoints so far; the same where no run has come further."""
        return [
            (
                len(run.first_reports),
                run.status in ENDED,
                [note["checkpoint"] for note in run.notes if note["note"] == "resumed"][-1:],
            )
            for run in self._history.runs.values()
        ]
