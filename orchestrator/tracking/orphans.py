"""Searches whose process was killed: their journals are closed by the next command.

Nobody will ever report their unfinished runs again; left alone, MLflow would show them as
running for ever.
"""

from pathlib import Path

from orchestrator.tracking import journal
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.owner import is_alive
from orchestrator.tracking.replay import ReplayThread, read_ids
from orchestrator.tracking.storage import list_searches

_REPLAY_S = 60.0


def close_orphans(storage: Path) -> list[Path]:
    """End the runs of dead searches, and bring MLflow up to date with every closed one.

    Args:
        storage: Folder of all experiments.

    Returns:
        The folders of the searches that were closed.
    """
    closed = []
    for folder in list_searches(storage):
        ids = read_ids(folder)
        if ids is not None and ids["complete"]:
            continue
        history = SearchHistory(folder)
        history.follow()
        if not history.plan or is_alive(history.owner) is not False:
            continue
        if not history.answer:
            _close(history)
            closed.append(folder)
        ReplayThread(folder).finish(_REPLAY_S)
    return closed


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
