"""Composes the stages: what the command line and notebooks call.

spec = load_spec("experiments/digits-label-smoothing.yaml")
print(describe_plan(plan(spec)))
record = run(spec)
record.to_pandas()
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from orchestrator.errors import InfeasibleError, RecordError, SpecError, TrainingError
from orchestrator.launch.environment import prepare_environment
from orchestrator.planning.resolve import Limits, resolve_search
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.tracking import journal, storage
from orchestrator.tracking.facts import describe_software
from orchestrator.tracking.history import SearchHistory, read_search
from orchestrator.tracking.lookup import find_run
from orchestrator.tracking.metrics_file import append_metrics
from orchestrator.tracking.orphans import close_orphans
from orchestrator.tracking.owner import describe_owner
from orchestrator.tracking.record import RunRecord, SearchRecord
from orchestrator.tracking.replay import ReplayThread
from orchestrator.tracking.store import check_store
from orchestrator.tracking.ui import link_to_run, link_to_search, store_of

if TYPE_CHECKING:
    from orchestrator.comparison.summary import SearchSummary
    from orchestrator.planning.search_plan import SearchPlan

__all__ = ["Limits", "RunOptions", "Watch", "compare", "load_spec", "plan", "run"]

Source = str | Path | Mapping[str, Any] | ExperimentSpec
PICTURE: Final = "response.png"
_REPLAY_S: Final = 60.0
"""How long the end waits for MLflow; a later command writes what is missing then."""


class Watch(Protocol):
    """Somebody who looks on while a search is trained."""

    def planned(self, plan: "SearchPlan") -> None:
        """The plan is made and nothing is started."""

    def progressed(self, history: SearchHistory) -> None:
        """Called about ten times a second."""

    def answered(self, record: SearchRecord, summary: "SearchSummary") -> None:
        """Every run has ended; Ray may still be ending."""

    def ended(self, record: SearchRecord, *, mlflow_error: str) -> None:
        """Everything is written, or what kept MLflow from it."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How `run` shall train, beside what the spec says."""

    limits: Limits = field(default_factory=Limits)
    in_process: bool = False
    """Train a single run here, without Ray, and let its exceptions through."""
    run_number: int = 1
    """Which run `in_process` trains, as `plan` numbers them."""


def plan(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    limits: Limits = Limits(),  # noqa: B008
) -> "SearchPlan":
    """What `run` would do, with the number that it would get; starts nothing.

    Args:
        source: Path of an experiment file, a map of the same form, or a loaded spec.
        overrides: `key.sub=value`, the value as YAML.
        limits: Shortcuts for debugging.

    Raises:
        SpecError: The spec has mistakes.
        InfeasibleError: The machines cannot do it.
    """
    from orchestrator.launch.cluster import look

    prepare_environment()
    spec = _spec(source, overrides)
    folder = storage.find_storage(spec.keys.storage_path)
    number = storage.next_number(folder, spec.keys.name)
    return resolve_search(spec, look(), storage=folder, number=number, limits=limits)


def run(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    options: RunOptions = RunOptions(),
    watch: Watch | None = None,
) -> SearchRecord:
    """Train everything that an experiment asks for, record it and compare it.

    Args:
        source: Path of an experiment file, a map of the same form, or a loaded spec.
        overrides: `key.sub=value`, the value as YAML.
        options: How to train.
        watch: Somebody who looks on; nobody by default.

    Returns:
        What happened; failed runs among it.

    Raises:
        SpecError: The spec has mistakes; nothing was started.
        InfeasibleError: The machines cannot do it; nothing was started.
        KeyboardInterrupt: Ctrl-C; what was done is recorded.
    """
    spec = _spec(source, overrides)
    onlooker = watch or _Nobody()
    if options.limits.fast_dev_run:
        with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder:
            return _Execution(spec, Path(folder), options, onlooker, keep=False).execute()
    folder_kept = storage.find_storage(spec.keys.storage_path)
    close_orphans(folder_kept)
    return _Execution(spec, folder_kept, options, onlooker, keep=True).execute()


def compare(label: str, *, storage_path: str | None = None) -> "SearchSummary":
    """The comparison of a recorded search, as `run` showed it.

    Args:
        label: `NAME`, its latest search, or `NAME#3`.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.

    Raises:
        RecordError: There is no such search.
    """
    from orchestrator.comparison.summary import summarize_search

    return summarize_search(read_record(label, storage_path=storage_path))


def read_record(label: str, *, storage_path: str | None = None) -> SearchRecord:
    """The record of a search; arguments and errors as for `compare`."""
    folder = storage.find_storage(storage_path)
    close_orphans(folder)
    return read_search(storage.find_search(folder, label))


@dataclass(frozen=True)
class Pages:
    """Where MLflow shows something."""

    store: str
    """Tracking store, for a server to be started on."""
    folder: Path | None
    """Folder of the search; None for the front page."""
    mlflow_id: str = ""
    """MLflow's id of one run; empty for the whole search."""

    @property
    def server(self) -> str:
        """Address of the server that has the records; empty for an SQLite store."""
        return self.store.rstrip("/") if self.store.startswith("http") else ""

    def link(self, base: str) -> str:
        """The address of the pages on a server at `base`."""
        if self.folder is None:
            return base
        if self.mlflow_id:
            return link_to_run(self.folder, base, self.mlflow_id)
        return link_to_search(self.folder, base)


def find_pages(name: str | None, *, storage_path: str | None = None) -> Pages:
    """Where MLflow shows a search or a run.

    Args:
        name: `NAME`, `NAME#3`, or a run as `find_run` takes it; None for the latest search.
        storage_path: Where the records are; ORCHESTRATOR_STORAGE or `./runs` by default.

    Raises:
        RecordError: There is no such search or run.
    """
    folder = storage.find_storage(storage_path)
    close_orphans(folder)
    if name is None:
        latest = max(
            storage.list_searches(folder), key=lambda path: path.stat().st_mtime, default=None
        )
        if latest is None:
            raise RecordError(f"nothing is recorded under {folder}; run an experiment first")
        return Pages(store_of(latest), latest)
    if "/" not in name and "@" not in name and storage.list_numbers(folder, name.split("#")[0]):
        search = storage.find_search(folder, name)
        return Pages(store_of(search), search)
    found = find_run(folder, name, choose_best=_best_run)
    return Pages(store_of(found.search.folder), found.search.folder, found.mlflow_id)


def _best_run(search: SearchRecord) -> RunRecord | None:
    """Of the setting with the best mean, the run with the first seed: never a lucky one."""
    from orchestrator.comparison.summary import best_setting, summarize_search

    best = best_setting(summarize_search(search))
    if best is None:
        return None
    return next(
        r for r in search.runs if r.setting == best.setting and r.seed == search.seeds[0]
    )


class _Nobody:
    def planned(self, plan: "SearchPlan") -> None:
        """Not shown."""

    def progressed(self, history: SearchHistory) -> None:
        """Not shown."""

    def answered(self, record: SearchRecord, summary: "SearchSummary") -> None:
        """Not shown."""

    def ended(self, record: SearchRecord, *, mlflow_error: str) -> None:
        """Not shown."""


class _Execution:
    """One `run`, from its spec to its record."""

    def __init__(
        self,
        spec: ExperimentSpec,
        folder: Path,
        options: RunOptions,
        watch: Watch,
        *,
        keep: bool,
    ) -> None:
        self._spec = spec
        self._storage = folder
        self._options = options
        self._watch = watch
        self._keep = keep

    def execute(self) -> SearchRecord:
        from orchestrator.launch.cluster import look

        prepare_environment()
        cluster = look()
        # Refused before a number is taken and a folder is made.
        probe = self._resolve(cluster, storage.next_number(self._storage, self._spec.keys.name))
        check_store(probe.store_uri)
        number = storage.claim_number(self._storage, self._spec.keys.name)
        plan = self._resolve(cluster, number)
        self._watch.planned(plan)
        return self._train(plan, cluster)

    def _resolve(self, cluster: Any, number: int) -> "SearchPlan":  # noqa: ANN401
        whole = resolve_search(
            self._spec,
            cluster,
            storage=self._storage,
            number=number,
            limits=self._options.limits,
        )
        return _pick_run(whole, self._options.run_number) if self._options.in_process else whole

    def _train(self, plan: "SearchPlan", cluster: Any) -> SearchRecord:  # noqa: ANN401
        book = journal.Journal(plan.folder)
        book.append(
            journal.SEARCH,
            plan=plan.to_json(),
            owner=describe_owner(),
            facts=describe_software(),
        )
        history = SearchHistory(plan.folder)
        replay = ReplayThread(plan.folder) if self._keep else None

        def tick() -> None:
            append_metrics(history, history.follow())
            self._watch.progressed(history)

        status = "stopped"
        try:
            with self._training(plan, cluster, book, tick) as wait:
                if wait():
                    status = _status_of(history)
                record = self._answer(plan, book, history, status)
        finally:
            history.follow()
            if history.status == "running":
                _end_unfinished(book, history)
                record = self._answer(plan, book, history, "stopped")
            book.close()
            error = _finish_replay(replay)
            self._watch.ended(record, mlflow_error=error)
        if status == "stopped":
            raise KeyboardInterrupt
        return record

    @contextmanager
    def _training(
        self,
        plan: "SearchPlan",
        cluster: Any,  # noqa: ANN401
        book: journal.Journal,
        tick: Callable[[], None],
    ) -> Iterator[Callable[[], bool]]:
        if self._options.in_process:
            from orchestrator.launch.in_process import train_here

            yield lambda: train_here(plan.runs[0], plan.lanes, book, tick)
            return
        from orchestrator.launch.run import launch

        with launch(plan, cluster) as launched:
            yield lambda: launched.wait(tick)

    def _answer(
        self, plan: "SearchPlan", book: journal.Journal, history: SearchHistory, status: str
    ) -> SearchRecord:
        from orchestrator.comparison.markdown import describe_for_mlflow
        from orchestrator.comparison.summary import summarize_search

        book.append(journal.CLOSE, status=status)
        append_metrics(history, history.follow())
        record = history.to_record()
        summary = summarize_search(record)
        files = []
        if self._keep and any(row.scores for row in summary.rows):
            from orchestrator.comparison.figures import draw_response_curve

            draw_response_curve(summary, plan.folder / PICTURE)
            files.append(str(plan.folder / PICTURE))
        markdown = describe_for_mlflow(summary, description=plan.description)
        book.append(journal.ANSWER, sentence=summary.sentence, markdown=markdown, files=files)
        self._watch.answered(record, summary)
        return record


def _spec(source: Source, overrides: Sequence[str]) -> ExperimentSpec:
    if not isinstance(source, ExperimentSpec):
        return load_spec(source, overrides)
    if overrides:
        raise SpecError(["overrides belong to a path or a map, not to a spec that is loaded"])
    return source


def _pick_run(plan: "SearchPlan", number: int) -> "SearchPlan":
    """The plan of one of its runs alone."""
    if plan.lanes.workers > 1:
        raise InfeasibleError(
            "--in-process trains with one worker; set resources.num_workers=1 "
            f"(got {plan.lanes.workers})"
        )
    if not 1 <= number <= len(plan.runs):
        raise SpecError(
            [f"--run {number}: the plan numbers its runs from 1 to {len(plan.runs)}"]
        )
    chosen = plan.runs[number - 1]
    return replace(
        plan,
        settings=(chosen.setting,),
        baseline=None,
        seeds=(chosen.numbers.seed,),
        runs=(chosen,),
        lanes=replace(plan.lanes, lanes=1),
    )


def _status_of(history: SearchHistory) -> str:
    return (
        "finished" if any(r.status == "finished" for r in history.runs.values()) else "failed"
    )


def _end_unfinished(book: journal.Journal, history: SearchHistory) -> None:
    """Whatever interrupted the search, no run of it is left without an ending."""
    for run_id, run in history.runs.items():
        if run.status in ("waiting", "running"):
            book.append(
                journal.END,
                run=run_id,
                status="stopped",
                metrics={},
                weights_sha256="",
                duration_s=0.0,
                error="stopped before it had finished",
            )


def _finish_replay(replay: ReplayThread | None) -> str:
    if replay is None or replay.finish(_REPLAY_S):
        return ""
    return replay.error or f"not written within {_REPLAY_S:.0f} s"


def raise_for_failures(record: SearchRecord) -> None:
    """Raise where every run of a search failed.

    Raises:
        TrainingError: Names the first cause.
    """
    failed = [run for run in record.runs if run.status == "failed"]
    if failed and not any(run.status == "finished" for run in record.runs):
        raise TrainingError(
            f"every run failed; the first, {failed[0].run_id}: {failed[0].error}"
        )
