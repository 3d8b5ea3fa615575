"""What happened, as frozen values: a run, and the search that it belongs to.

Everything that is printed, compared or exported is derived from these, never from a live
object: `compare` next week shows what `run` showed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.planning.run_plan import Scalar

if TYPE_CHECKING:
    import pandas

Setting = Mapping[str, Scalar]
"""Searched key, in full (`loss.label_smoothing`), to value; empty where nothing is searched."""

RunStatus = Literal["waiting", "running", "finished", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One training of one setting with one seed."""

    run_id: str
    """`name/number/run`, unique; replay to MLflow finds a run by it."""
    setting: Setting
    seed: int
    status: RunStatus
    metrics: Mapping[str, float]
    """The values that count: the last epoch's, or the best epoch's under `training.select:
    best`. Empty unless the run finished."""
    history: tuple[Mapping[str, float], ...]
    """Every metric of every epoch that the last attempt reported; `epoch` counts from 1."""
    duration_s: float
    weights_sha256: str
    """Digest of the final weights; empty unless the run finished."""
    error: str
    """One line: the cause of a failure. Empty otherwise."""
    traceback: str
    """Path of the file with the whole traceback; empty where there is none."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing of it, in words, such as a damaged checkpoint."""
    reused: str = ""
    """Id of the run of another search that trained it; empty where this search did."""
    fewer_workers: str = ""
    """With how many workers an elastic run was trained for a part, in words: its numbers do not
    come out again; empty where all of them trained it."""


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """One numbered execution of a spec, even of a single setting."""

    name: str
    number: int
    folder: Path
    status: Literal["running", "finished", "stopped", "failed"]
    metric: str
    maximize: bool
    select: Literal["last", "best"]
    settings: tuple[Setting, ...]
    """In the order in which the spec gives them."""
    seeds: tuple[int, ...]
    baseline: Setting | None
    """The setting that all others are compared with; None where there is only one."""
    caveat: str
    """Why the metric is not a fair judge of the searched key; empty where it is one."""
    limits: str
    """What made this less than a whole training, in words; empty where nothing did."""
    runs: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        """`name#number`, as every command takes it."""
        return f"{self.name}#{self.number}"

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per run: run id, status, seed, each searched key, each metric that counts."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "run_id": run.run_id,
                    "status": run.status,
                    "seed": run.seed,
                    **run.setting,
                    **run.metrics,
                    "duration_s": run.duration_s,
                    "weights_sha256": run.weights_sha256,
                }
                for run in self.runs
            ]
        )
