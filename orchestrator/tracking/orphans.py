"""Searches whose process was killed: their journals are closed by the next command.

Nobody will ever report their unfinished runs again; left alone, MLflow would show them as
running for ever.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError
from orchestrator.tracking import journal
from orchestrator.tracking.finished import FinishedRuns
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mirror import address_of, copy_id
from orchestrator.tracking.mlflow_ids import read_ids
from orchestrator.tracking.owner import is_in_reach, own
from orchestrator.tracking.replay_thread import ReplayThread
from orchestrator.tracking.sending import UNSENT
from orchestrator.tracking.storage import list_searches

_REPLAY_S: Final = 10.0
"""For all searches together: a store that does not answer must not hold up a command."""


def close_orphans(storage: Path) -> list[Path]:
    """End the runs of dead searches, and bring MLflow up to date with every closed one.

    One that cannot be written, on a full disk for instance, is left as it is. What MLflow does
    not take within ten seconds is left to the next command.

    Args:
        storage: Folder of all experiments.

    Returns:
        The folders of the searches that were closed.
    """
    deadline = time.monotonic() + _REPLAY_S
    return [
        folder
        for folder in list_searches(storage)
        if _close_if_orphaned(folder, deadline=deadline)
    ]


def _close_if_orphaned(folder: Path, *, deadline: float) -> bool:
    ids = read_ids(folder)
    if ids is not None and ids["complete"]:
        return False
    if not _may_be_orphaned(folder) or not os.access(folder, os.W_OK):
        return False
    with suppress(InfeasibleError), own(folder) as is_ours:
        if not is_ours:
            return False
        history = SearchHistory(folder)
        history.follow()
        is_open = not history.answer
        if is_open:
            _close(history)
            finished = FinishedRuns(folder.parents[1])
            for run_id, run in history.runs.items():
                if run.status == "finished" and run.attempts:
                    finished.add(run_id, run.plan)
        if time.monotonic() < deadline:
            ReplayThread(folder).finish(deadline - time.monotonic())
        return is_open
    return False


def _may_be_orphaned(folder: Path) -> bool:
    history = SearchHistory(folder)
    history.follow()
    return bool(history.plan) and is_in_reach(history.owner, copy_id(folder.parents[1]))


def _close(history: SearchHistory) -> None:
    book = journal.Journal(history.folder)
    unfinished = {run_id: run for run_id, run in history.runs.items() if not run.ending}
    journal.end_unfinished(
        book,
        unfinished,
        error="the process that drove the search was killed",
        durations={
            run_id: run.times[-1] - run.started
            for run_id, run in unfinished.items()
            if run.times
        },
    )
    if history.status == "running":
        book.append(journal.CLOSE, status="stopped")
    sentence = "The process that drove this search was killed before it had finished."
    book.append(journal.ANSWER, sentence=sentence, markdown=sentence, files=[])
    book.close()
    if address_of(history.folder.parents[1]):
        (history.folder / UNSENT).touch()
