"""Searches that are disturbed: which process to kill, and what must be the same in the end."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.launch.processes import list_descendants
from tests.journey.conftest import Orchestrate, digests

Start = Callable[..., "subprocess.Popen[str]"]

KINDS: Final = {
    "worker": b"RayTrainWorker",
    "controller": b"TrainController",
    "broker": b"ray::Broker",
    "driver": b"",
}
"""Kind of process to what its command line holds."""

SPEC: Final = """
name: small
data: {dataset: digits, train_size: 200, label_noise: 0.2}
model: {architecture: small_cnn}
loss: {label_smoothing: {grid: [0, 0.4]}}
schedule: {name: one_cycle}
training: {epochs: 80}
search: {seeds: 2}
checkpoint: {every_steps: 7}
"""


@dataclass(frozen=True)
class Outcome:
    """What a search came to: the same, whatever was killed."""

    weights: Mapping[str, str]
    """Run to SHA-256 of its final weights."""
    table: str
    mlflow: Mapping[str, tuple[str, int]]
    """Name of each of MLflow's runs to its status and how many numbers it has."""


def read_outcome(orchestrate: Orchestrate, storage: Path, **variables: str) -> Outcome:
    """What the search in a storage came to."""
    compared = orchestrate("compare", "small", "--csv", **variables)
    assert compared.status == 0, compared.err
    journal = (storage / "small" / "1" / "journal.jsonl").read_text()
    with sqlite3.connect(storage / "mlflow.db") as connection:
        rows = connection.execute(
            "SELECT name, status, (SELECT count(*) FROM metrics WHERE "
            "metrics.run_uuid = runs.run_uuid) FROM runs"
        ).fetchall()
    assert len({name for name, _, _ in rows}) == len(rows), rows
    return Outcome(
        digests(journal), compared.out, {name: (status, count) for name, status, count in rows}
    )


def kill(kind: str, driver: "subprocess.Popen[str]") -> bool:
    """SIGKILL a process of a search; False where there is none of its kind."""
    if kind == "driver":
        driver.kill()
        return True
    for process in list_descendants(driver.pid):
        if KINDS[kind] in _command(process):
            os.kill(process, signal.SIGKILL)
            return True
    return False


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
