"""From journal entries to records: the fold that the screen, the tables and MLflow share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from orchestrator.errors import RecordError
from orchestrator.tracking import journal
from orchestrator.tracking.attempts import describe_attempt
from orchestrator.tracking.record import SearchRecord
from orchestrator.tracking.run_state import RunState

_SHARED_FACTS: Final = ("torch", "cuda", "cudnn")
"""What a lane knows that holds for the whole search."""


class SearchHistory:
    """One search, folded from its journal's entries.

    Args:
        folder: The search's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan: Mapping[str, Any] = {}
        """The search's plan as JSON values; empty before the first entry."""
        self.owner: Mapping[str, Any] = {}
        self.facts: Mapping[str, Any] = {}
        """Versions of the driver, and those of torch and CUDA in the lane that joined last."""
        self.lane_facts: dict[str, Mapping[str, Any]] = {}
        """Lane to what is known of its processes: host, device, versions."""
        self.started = 0.0
        self.begun: tuple[Mapping[str, Any], float] = {}, 0.0
        """Owner and time of the first beginning, before any interruption."""
        self.runs: dict[str, RunState] = {}
        self.lanes: dict[str, str] = {}
        """Lane to the run that it trains, empty while it waits."""
        self.status: Literal["running", "finished", "stopped", "failed"] = "running"
        self.answer: Mapping[str, Any] = {}
        self._reader = journal.JournalReader(folder)

    def facts_of(self, run: RunState) -> Mapping[str, Any]:
        """What is known of the software and the machine that trained a run, at last."""
        if run.attempts:
            facts: Mapping[str, Any] = run.attempts[-1]["facts"]
            return facts
        return {**self.facts, **self.lane_facts.get(run.lane, {})}

    def follow(self) -> list[journal.Entry]:
        """Take in what was appended since the last call, and return it."""
        entries = list(self._reader.read())
        for entry in entries:
            self._apply(entry)
        return entries

    def to_record(self) -> SearchRecord:
        """The search as a frozen value.

        Raises:
            RecordError: The journal has no beginning.
        """
        if not self.plan:
            raise RecordError(f"the journal in {self.folder} is empty: the search never began")
        plan = self.plan
        return SearchRecord(
            name=plan["name"],
            number=plan["number"],
            folder=self.folder,
            status=self.status,
            metric=plan["metric"],
            maximize=plan["maximize"],
            select=plan["select"],
            settings=tuple(plan["settings"]),
            seeds=tuple(plan["seeds"]),
            baseline=plan["baseline"],
            caveat=plan["caveat"],
            limits=_word_limits(plan),
            runs=tuple(run.to_record(run_id) for run_id, run in self.runs.items()),
        )

    def _apply(self, entry: journal.Entry) -> None:
        kind = entry["kind"]
        if kind == journal.SEARCH:
            self._begin(entry)
        elif kind == journal.LANE:
            self.lanes[entry["lane"]] = ""
            self.lane_facts[entry["lane"]] = entry["facts"]
            shared = {key: v for key, v in entry["facts"].items() if key in _SHARED_FACTS}
            self.facts = {**self.facts, **shared}
        elif kind == journal.LOST:
            self._interrupt(entry)
        elif kind == journal.CLOSE:
            self.status = entry["status"]
        elif kind == journal.ANSWER:
            self.answer = entry
        else:
            self._apply_to_run(kind, entry, self.runs[entry["run"]])

    def _interrupt(self, entry: journal.Entry) -> None:
        """All lanes are gone at once: what was being trained waits again, and has it noted."""
        self.lanes = {}
        for run in self.runs.values():
            if run.status == "running":
                run.interrupt(entry)

    def _apply_to_run(self, kind: str, entry: journal.Entry, run: RunState) -> None:
        if kind == journal.START:
            run.status, run.lane, run.attempt = "running", entry["lane"], entry["attempt"]
            run.started = run.started or entry["t"]
            run.history, run.times = [], []
            run.attempts.append(
                describe_attempt(
                    run.attempt,
                    entry["t"],
                    plan=self.plan,
                    facts=self.facts,
                    lane=self.lane_facts.get(run.lane, {}),
                )
            )
            self.lanes[entry["lane"]] = entry["run"]
        elif kind == journal.EPOCH:
            run.take_report(entry["t"], entry["epoch"], entry["metrics"])
        elif kind == journal.NOTE:
            run.take_note(entry)
        elif kind == journal.END:
            run.status, run.ending, run.ended = entry["status"], entry, entry["t"]
            self.lanes = {k: "" if v == entry["run"] else v for k, v in self.lanes.items()}

    def _begin(self, entry: journal.Entry) -> None:
        """A search begins, or goes on after an interruption."""
        self.plan, self.owner, self.started = entry["plan"], entry["owner"], entry["t"]
        self.facts = entry["facts"]
        self.begun = self.begun if self.begun[1] else (self.owner, self.started)
        self.status, self.answer, self.lanes = "running", {}, {}
        done = entry["plan"].get("done", {})
        self.runs = {
            run["run_id"]: self._go_on(run, is_done=done.get(run["run_id"]) == run["run_id"])
            for run in entry["plan"]["runs"]
        }

    def _go_on(self, plan: Mapping[str, Any], *, is_done: bool) -> RunState:
        """A run of a search that begins, or goes on: what is done stays as it is."""
        known = self.runs.get(plan["run_id"])
        if known is None:
            return RunState(plan)
        if not is_done:
            known.plan, known.status, known.ending = plan, "waiting", {}
        return known


def _word_limits(plan: Mapping[str, Any]) -> str:
    count: int | None = plan["runs"][0]["numbers"]["overfit_batches"]
    if not count:
        return ""
    batches = "1 batch" if count == 1 else f"{count} batches"
    return (
        f"trained on the same {batches} in every epoch: a check of the code, not of the method"
    )


def read_search(folder: Path) -> SearchRecord:
    """What one search's journal says, as a record.

    Raises:
        RecordError: The journal has no beginning.
    """
    history = SearchHistory(folder)
    history.follow()
    return history.to_record()
