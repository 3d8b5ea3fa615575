"""What happens to a plan: journal, lanes, answer, MLflow."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from orchestrator.errors import InfeasibleError, LostRayError, MachinesChangedError
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.search_plan import RERUN, SearchPlan
from orchestrator.setbacks import ENDED, Setbacks
from orchestrator.tracking import journal
from orchestrator.tracking.finished import FinishedRuns
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.links import link_run, unlink_lost
from orchestrator.tracking.metrics_file import append_metrics
from orchestrator.tracking.mirror import copy_id
from orchestrator.tracking.mlflow_ids import mark_incomplete
from orchestrator.tracking.owner import describe_owner
from orchestrator.tracking.receipt import FILE_NAME as RECEIPT
from orchestrator.tracking.receipt import write_receipt
from orchestrator.tracking.record import SearchRecord
from orchestrator.tracking.replay_thread import ReplayThread
from orchestrator.tracking.writing import writing
from orchestrator.watch import Watch

_OWN: Final = ("kind", "t", "run")
"""What an entry of the journal has of its own."""
PICTURE: Final = "response.png"
"""Name of the response curve in a search's folder."""
Status = Literal["finished", "stopped", "failed"]
_PATIENCE_S: Final[dict[Status, float]] = {"finished": 60.0, "failed": 60.0, "stopped": 5.0}
"""Seconds that the end waits for MLflow; a later command writes what is missing then."""


class Drive:
    """What happens to a plan: journal, lanes, answer, MLflow."""

    def __init__(
        self,
        plan: SearchPlan,
        cluster: Cluster,
        watch: Watch,
        *,
        facts: dict[str, str],
        here: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        self._plan = plan
        self._asked = plan.lanes
        self._cluster = cluster
        self._watch = watch
        self._here = here
        self._wait_s = wait_s
        self._book = journal.Journal(plan.folder)
        self._history = SearchHistory(plan.folder)
        # What was done before an interruption is on the disk already.
        self._history.follow()
        self._finished = FinishedRuns(plan.folder.parents[1])
        # Whoever was killed may not have come to it.
        self._remember(self._history.runs, again=False)
        self._book.append(
            journal.SEARCH,
            plan=plan.to_json(),
            owner=describe_owner(copy_id(plan.folder.parents[1])),
            facts=facts,
        )
        mark_incomplete(plan.folder)
        self._status: Status = "failed"

    def train(self, *, keep: bool) -> SearchRecord:
        """Train, answer, and write what is left to MLflow; as `Execution.execute`."""
        for run in self._plan.missing:
            unlink_lost(Path(run.place.folder))
        for run_id, source in self._plan.done.items():
            if source != run_id:
                self._take_over(run_id)
        self._tick()
        replay = ReplayThread(self._plan.folder) if keep else None
        record = None
        try:
            record = self._train_to_the_end(keep=keep)
        except KeyboardInterrupt:
            self._status = "stopped"
            raise
        finally:
            # Also where Ray did not start, or Ctrl-C came before it had.
            record = record or self._answer(keep=keep)
            self._book.close()
            error = _finish(replay, _PATIENCE_S[self._status])
            self._watch.ended(record, kept=keep, mlflow_error=error)
        if self._status == "stopped":
            raise KeyboardInterrupt
        return record

    def _train_to_the_end(self, *, keep: bool) -> SearchRecord:
        """Train on lanes; where Ray dies under them, on those of another Ray."""
        setbacks = Setbacks(self._history)
        while True:
            try:
                with self._launched() as wait:
                    self._status = "finished" if wait(self._tick) else "stopped"
                    return self._answer(keep=keep)
            except LostRayError as error:
                self._tick()
                setbacks.take(error)
                self._book.append(journal.LOST, cause=str(error))
                self._watch.lost(str(error))
                self._tick()
                if self._cluster.address:
                    self._move(error.room if isinstance(error, MachinesChangedError) else None)

    def _move(self, room: tuple[int, int] | None) -> None:
        """Place what is left on the machines that there are now, in this room at most."""
        from orchestrator.launch.devices import Patience
        from orchestrator.launch.relocation import RETURN_S, place_anew

        # Others may take what was ours until our lanes are up again.
        self._wait_s = max(RETURN_S, self._wait_s)
        self._cluster, lanes = place_anew(
            # As many as at first, where there is room for them again.
            self._asked,
            Patience(seconds=self._wait_s, told=self._watch.waiting),
            storage=self._plan.folder.parents[1],
            room=room,
        )
        self._plan = replace(self._plan, lanes=lanes)

    def _take_over(self, run_id: str) -> None:
        """Give a run the results of one that was trained with the same numbers."""
        run = next(run for run in self._plan.runs if run.run_id == run_id)
        same = self._finished.find(run.fingerprint)
        if same is None:
            raise InfeasibleError(f"{self._plan.done[run_id]} is gone; run it again")
        link_run(Path(run.place.folder), same.folder)
        self._book.append(
            journal.NOTE,
            run=run_id,
            note="reused",
            run_id=same.run_id,
            history=list(same.history),
        )
        ending = {key: value for key, value in same.ending.items() if key not in _OWN}
        self._book.append(journal.END, run=run_id, **ending)

    def _tick(self) -> None:
        entries = self._history.follow()
        if entries:
            append_metrics(self._history, entries)
            self._remember(e["run"] for e in entries if e["kind"] == journal.END)
            self._watch.progressed(self._history)

    def _remember(self, run_ids: Iterable[str], *, again: bool = True) -> None:
        """Write the receipts of what has ended, and let what has finished be found again.

        What was taken from another search has the receipt of that one; without `again`, one
        that is there is left as it is.
        """
        for run_id in run_ids:
            run = self._history.runs[run_id]
            folder = Path(run.plan["place"]["folder"])
            if not run.attempts or run.status not in ENDED or folder.is_symlink():
                continue
            if again or not (folder / RECEIPT).exists():
                write_receipt(self._history, run_id)
            # A repetition is no answer to anything but its own question.
            if run.status == "finished" and not self._plan.name.endswith(RERUN):
                self._finished.add(run_id, run.plan)

    @contextmanager
    def _launched(self) -> Iterator[Callable[[Callable[[], None]], bool]]:
        plan = self._plan
        runs = self._history.runs.items()
        endings = {run_id: dict(run.ending) for run_id, run in runs if run.status in ENDED}
        if len(endings) == len(plan.runs):
            # All is there already, or had ended when Ray died.
            yield _tick_once
            return
        if self._here:
            from orchestrator.launch.in_process import train_here

            yield lambda tick: train_here(plan.runs[0], plan.lanes, self._book, tick)
            return
        from orchestrator.launch.devices import Patience
        from orchestrator.launch.run import launch

        parts = {run_id: run.parts for run_id, run in runs if run.parts is not None}
        patience = Patience(seconds=self._wait_s, told=self._watch.waiting)
        with launch(plan, self._cluster, endings, parts, patience) as launched:
            yield launched.wait

    def _answer(self, *, keep: bool) -> SearchRecord:
        from orchestrator.comparison.markdown import describe_for_mlflow
        from orchestrator.comparison.summary import summarize_search

        self._close()
        record = self._history.to_record()
        summary = summarize_search(record)
        files = []
        if keep and any(row.scores for row in summary.rows):
            from orchestrator.comparison.figures import draw_response_curve

            picture = self._plan.folder / PICTURE
            with writing(picture):
                draw_response_curve(summary, picture)
            files.append(str(picture))
        markdown = describe_for_mlflow(summary, description=self._plan.description)
        self._book.append(
            journal.ANSWER, sentence=summary.sentence, markdown=markdown, files=files
        )
        self._watch.answered(record, summary)
        return record

    def _close(self) -> None:
        """Give every run an ending and close the journal, once."""
        self._tick()
        unfinished = [run for run, state in self._history.runs.items() if not state.ending]
        if self._history.status == "running":
            error = "stopped before it had finished"
            journal.end_unfinished(self._book, unfinished, error=error)
            finished = any(s.status == "finished" for s in self._history.runs.values())
            if self._status == "finished" and (unfinished or not finished):
                self._status = "failed"
            self._book.append(journal.CLOSE, status=self._status)
        self._tick()


def _tick_once(tick: Callable[[], None]) -> bool:
    tick()
    return True


def _finish(replay: ReplayThread | None, patience_s: float) -> str:
    """What kept MLflow from being written; empty where nothing did."""
    if replay is None or replay.finish(patience_s):
        return ""
    return replay.error or f"not written within {patience_s:.0f} s"
