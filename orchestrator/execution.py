"""One `run`, from its spec to its record: the stages in their order, and how each may end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.inputs import Surroundings
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.numbers import Limits
from orchestrator.planning.resolve import SOURCES, resolve_search
from orchestrator.planning.search_plan import SearchPlan, pick_run
from orchestrator.previews import needs_preview, preview_runs
from orchestrator.sources import copy_sources
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.tracking import journal, storage
from orchestrator.tracking.facts import describe_software
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.metrics_file import append_metrics
from orchestrator.tracking.owner import describe_owner, own
from orchestrator.tracking.record import SearchRecord
from orchestrator.tracking.replay_thread import ReplayThread
from orchestrator.tracking.store import check_store
from orchestrator.tracking.writing import writing

if TYPE_CHECKING:
    from orchestrator.comparison.summary import SearchSummary

PICTURE: Final = "response.png"
"""Name of the response curve in a search's folder."""
Status = Literal["finished", "stopped", "failed"]
_PATIENCE_S: Final[dict[Status, float]] = {"finished": 60.0, "failed": 60.0, "stopped": 5.0}
"""Seconds that the end waits for MLflow; a later command writes what is missing then."""


class Watch:
    """Somebody who looks on while a search is trained; this one shows nothing."""

    def planned(self, plan: SearchPlan, network: Sequence[tuple[str, str]]) -> None:
        """The plan is made, with what torch says of its network, and nothing is started."""

    def progressed(self, history: SearchHistory) -> None:
        """Called after something has happened."""

    def answered(self, record: SearchRecord, summary: "SearchSummary") -> None:
        """Every run has ended; Ray may still be ending."""

    def ended(self, record: SearchRecord, *, kept: bool, mlflow_error: str) -> None:
        """All is over: whether the records stay, and what kept MLflow from being written."""


class Execution:
    """Trains, records and compares one spec.

    Args:
        spec: What was asked.
        folder: Storage of all experiments.
        around: What was read before planning.
        limits: Shortcuts for debugging.
        only_run: Train this run alone, here, without Ray; None trains all, on lanes.
        watch: Looks on.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        folder: Path,
        *,
        around: Surroundings,
        limits: Limits,
        only_run: int | None,
        watch: Watch,
    ) -> None:
        self._spec = spec
        self._around = around
        self._storage = folder
        self._limits = limits
        self._only_run = only_run
        self._watch = watch

    def execute(self, *, keep: bool) -> SearchRecord:
        """Do it.

        Args:
            keep: Write to MLflow and draw the picture; False where nothing shall stay.

        Raises:
            OrchestratorError: It cannot be done; nothing was started, or the disk is full.
            KeyboardInterrupt: It was stopped; what was done is recorded.
        """
        from orchestrator.launch.cluster import look

        cluster = look()
        name = self._spec.keys.name
        # Refused before a number is taken and a folder is made.
        plan = self._resolve(cluster, storage.next_number(self._storage, name))
        network = self._preview(plan)
        if keep:
            check_store(plan.store_uri)
        number = storage.claim_number(self._storage, name)
        if number != plan.number:
            # Somebody else was quicker.
            plan = self._resolve(cluster, number)
        self._watch.planned(plan, network)
        with own(plan.folder) as is_ours:
            assert is_ours, f"{plan.folder} was made a moment ago"
            with writing(plan.folder / SOURCES):
                copy_sources(self._around.sources, plan.folder / SOURCES)
            training = _Training(
                plan,
                cluster,
                self._watch,
                here=self._only_run is not None,
                facts=describe_software(self._source_folder()),
            )
            return training.train(keep=keep)

    def _preview(self, plan: SearchPlan) -> list[tuple[str, str]]:
        """What torch says of the first run, once it has refused none."""
        if not needs_preview(plan.runs):
            return []
        return preview_runs(self._spec, plan.runs, sources=self._around.root)[0].rows()

    def _source_folder(self) -> Path | None:
        """The folder of the experiment file; None for a spec that was no file."""
        file = Path(self._spec.source)
        return file.absolute().parent if file.is_file() else None

    def _resolve(self, cluster: Cluster, number: int) -> SearchPlan:
        plan = resolve_search(
            self._spec,
            cluster,
            storage=self._storage,
            number=number,
            inputs=self._around.inputs,
            limits=self._limits,
        )
        return plan if self._only_run is None else pick_run(plan, self._only_run)


class _Training:
    """What happens to a plan: journal, lanes, answer, MLflow."""

    def __init__(
        self,
        plan: SearchPlan,
        cluster: Cluster,
        watch: Watch,
        *,
        here: bool,
        facts: dict[str, str],
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._watch = watch
        self._here = here
        self._book = journal.Journal(plan.folder)
        self._history = SearchHistory(plan.folder)
        self._book.append(
            journal.SEARCH,
            plan=plan.to_json(),
            owner=describe_owner(),
            facts=facts,
        )

    def train(self, *, keep: bool) -> SearchRecord:
        """Train, answer, and write what is left to MLflow; as `Execution.execute`."""
        replay = ReplayThread(self._plan.folder) if keep else None
        status: Status = "failed"
        record = None
        try:
            with self._launched() as wait:
                status = "finished" if wait(self._tick) else "stopped"
                record = self._answer(status, keep=keep)
        except KeyboardInterrupt:
            status = "stopped"
            raise
        finally:
            # Also where Ray did not start, or Ctrl-C came before it had.
            record = record or self._answer(status, keep=keep)
            self._book.close()
            error = _finish(replay, _PATIENCE_S[status])
            self._watch.ended(record, kept=keep, mlflow_error=error)
        if status == "stopped":
            raise KeyboardInterrupt
        return record

    def _tick(self) -> None:
        entries = self._history.follow()
        if entries:
            append_metrics(self._history, entries)
            self._watch.progressed(self._history)

    @contextmanager
    def _launched(self) -> Iterator[Callable[[Callable[[], None]], bool]]:
        plan = self._plan
        if self._here:
            from orchestrator.launch.in_process import train_here

            yield lambda tick: train_here(plan.runs[0], plan.lanes, self._book, tick)
            return
        from orchestrator.launch.run import launch

        with launch(plan, self._cluster) as launched:
            yield launched.wait

    def _answer(self, status: Status, *, keep: bool) -> SearchRecord:
        from orchestrator.comparison.markdown import describe_for_mlflow
        from orchestrator.comparison.summary import summarize_search

        self._close(status)
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

    def _close(self, status: Status) -> None:
        """Give every run an ending and close the journal, once."""
        self._tick()
        unfinished = [run for run, state in self._history.runs.items() if not state.ending]
        if self._history.status == "running":
            error = "stopped before it had finished"
            journal.end_unfinished(self._book, unfinished, error=error)
            finished = any(s.status == "finished" for s in self._history.runs.values())
            if status == "finished" and (unfinished or not finished):
                status = "failed"
            self._book.append(journal.CLOSE, status=status)
        self._tick()


def _finish(replay: ReplayThread | None, patience_s: float) -> str:
    """What kept MLflow from being written; empty where nothing did."""
    if replay is None or replay.finish(patience_s):
        return ""
    return replay.error or f"not written within {patience_s:.0f} s"
