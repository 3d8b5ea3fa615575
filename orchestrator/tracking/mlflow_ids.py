"""`mlflow.json` in a search's folder: what MLflow calls its runs, readable without MLflow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator.tracking.writing import write_whole

IDS_FILE: Final = "mlflow.json"


def read_ids(folder: Path) -> Mapping[str, Any] | None:
    """MLflow's ids of a search and its runs, and whether everything of it is written.

    Returns:
        `uri`, `experiment`, `complete`, `search`, and `runs`, our run ids to MLflow's; None
        where the search was never replayed.
    """
    path = folder / IDS_FILE
    values: Mapping[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return values


def mark_incomplete(folder: Path) -> None:
    """A search that was whole in MLflow goes on: let nobody take it for complete."""
    values = read_ids(folder)
    if values is not None:
        write_ids(folder, {**values, "complete": False})


def write_ids(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the file in one step; `values` as `read_ids` returns them.

    Raises:
        InfeasibleError: The disk is full or gone.
    """
    write_whole(folder / IDS_FILE, json.dumps(values, indent=1))
