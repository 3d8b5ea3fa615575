"""`metrics.csv` in every run's folder: one line per epoch, as it comes."""

import csv
from collections.abc import Mapping
from pathlib import Path

from orchestrator.tracking import journal
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.writing import writing

FILE_NAME = "metrics.csv"


def append_metrics(history: SearchHistory, entries: list[journal.Entry]) -> None:
    """Write the epochs among these entries to their runs' files.

    A run that begins again, after its lane died, begins its file again, with the epochs that it
    need not train again.

    Args:
        history: Has taken in the entries.
        entries: What was appended to the journal.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    for entry in entries:
        if entry["kind"] == journal.START:
            _path(history, entry["run"]).unlink(missing_ok=True)
        elif entry["kind"] == journal.NOTE and entry["note"] == "resumed":
            path = _path(history, entry["run"])
            with writing(path):
                for epoch, metrics in enumerate(entry["history"], start=1):
                    _append(path, {"epoch": epoch, **metrics})
        elif entry["kind"] == journal.EPOCH:
            path = _path(history, entry["run"])
            with writing(path):
                _append(path, {"epoch": entry["epoch"], **entry["metrics"]})


def _append(path: Path, values: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, values, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(values)


def _path(history: SearchHistory, run_id: str) -> Path:
    return Path(history.runs[run_id].plan["place"]["folder"]) / FILE_NAME
