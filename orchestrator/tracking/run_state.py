"""One run of a search, folded from its entries in the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.tracking.attempts import find_fewer, find_reused, word_notes
from orchestrator.tracking.record import RunRecord, RunStatus, Setting


@dataclass
class RunState:
    """A run as far as it has come."""

    plan: Mapping[str, Any]
    """The run's plan, as JSON values."""
    status: RunStatus = "waiting"
    lane: str = ""
    attempt: int = 0
    started: float = 0.0
    """Seconds since 1970; 0 before the start."""
    ended: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    """Metrics of every reported epoch of the present attempt, `epoch` among them."""
    times: list[float] = field(default_factory=list)
    """When each was reported, seconds since 1970."""
    first_reports: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)
    """Every epoch's first report, whichever attempt made it, and its time: what may be written
    where nothing can be taken back."""
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    """Every beginning, as `describe_attempt` has it."""
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    """What else was said of the run, such as where it went on from."""
    ending: Mapping[str, Any] = field(default_factory=dict)

    @property
    def setting(self) -> Setting:
        """Searched key to value."""
        setting: Setting = self.plan["setting"]
        return setting

    @property
    def seed(self) -> int:
        """The run's seed."""
        seed: int = self.plan["numbers"]["seed"]
        return seed

    @property
    def epochs(self) -> int:
        """How many epochs were planned."""
        epochs: int = self.plan["numbers"]["training"]["epochs"]
        return epochs

    @property
    def reused(self) -> str:
        """The run that trained what this one has; empty where it was trained itself."""
        return find_reused(self.notes, self.attempts)

    @property
    def fewer_workers(self) -> str:
        """With how many workers an elastic run was trained for a part; empty where with all."""
        return find_fewer(self.attempts, self.plan["numbers"]["world_size"])

    @property
    def parts(self) -> int | None:
        """Parts that its batches were cut into at last; None where the plan's own were."""
        found: list[int] = [note["parts"] for note in self.notes if note["note"] == "parts"]
        return found[-1] if found else None

    def take_report(self, when: float, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add one epoch of the present attempt."""
        self.history.append({"epoch": epoch, **metrics})
        self.times.append(when)
        if epoch > len(self.first_reports):
            self.first_reports.append((when, self.history[-1]))

    def take_note(self, note: Mapping[str, Any]) -> None:
        """Add what else was said; an attempt that goes on has the epochs before it."""
        self.notes.append(note)
        if note["note"] in ("resumed", "reused"):
            self.history, self.times = [], []
            for epoch, metrics in enumerate(note["history"], start=1):
                self.take_report(note["t"], epoch, metrics)

    def interrupt(self, entry: Mapping[str, Any]) -> None:
        """What trained it is gone: it waits again, and keeps why."""
        self.status = "waiting"
        self.take_note({**entry, "note": "interrupted"})

    def to_record(self, run_id: str) -> RunRecord:
        """The run as a frozen value."""
        return RunRecord(
            run_id=run_id,
            setting=self.setting,
            seed=self.seed,
            status=self.status,
            metrics=dict(self.ending.get("metrics", {})),
            history=tuple(dict(metrics) for metrics in self.history),
            duration_s=self.ending.get("duration_s", 0.0),
            weights_sha256=self.ending.get("weights_sha256", ""),
            error=self.ending.get("error", ""),
            traceback=self.ending.get("traceback", ""),
            notes=tuple(word_notes(self.notes, self.attempts)),
            reused=self.reused,
            fewer_workers=self.fewer_workers,
        )
