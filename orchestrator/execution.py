"""One `run`, from its spec to its record: the stages in their order, and how each may end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.driving import Drive
from orchestrator.errors import InfeasibleError
from orchestrator.fitting import refuse_cluster, settle
from orchestrator.inputs import Surroundings
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.numbers import Limits
from orchestrator.planning.resolve import SOURCES
from orchestrator.planning.search_plan import SearchPlan, pick_run
from orchestrator.previews import needs_preview, preview_runs
from orchestrator.reuse import decide_search
from orchestrator.sources import copy_sources
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.tracking import storage
from orchestrator.tracking.facts import describe_software
from orchestrator.tracking.history import SearchHistory, read_search
from orchestrator.tracking.owner import own
from orchestrator.tracking.record import SearchRecord
from orchestrator.tracking.sending import sending
from orchestrator.tracking.store import check_store
from orchestrator.tracking.working_copy import save_changes
from orchestrator.tracking.writing import writing
from orchestrator.watch import Watch


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How `run` shall train, beside what the spec says."""

    limits: Limits = field(default_factory=Limits)
    in_process: bool = False
    """Train a single run here, without Ray, and let its exceptions through."""
    run_number: int = 1
    """Which run `in_process` trains, as `plan` numbers them."""
    fresh: bool = False
    """Train everything, also what is there already or was interrupted."""
    wait_min: float = 0.0
    """Minutes for which GPUs that other searches hold are waited for."""

    def __post_init__(self) -> None:
        """Refuse a number that nobody would read."""
        if self.run_number != 1 and not self.in_process:
            raise ValueError("run_number goes with in_process")

    @property
    def only_run(self) -> int | None:
        """The run that is trained alone, here; None for all, on lanes."""
        return self.run_number if self.in_process else None


class Execution:
    """Trains, records and compares one spec.

    Args:
        spec: What was asked.
        folder: Storage of all experiments.
        around: What was read before planning.
        options: How to train, beside what the spec says.
        watch: Looks on.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        folder: Path,
        *,
        around: Surroundings,
        options: RunOptions,
        watch: Watch,
    ) -> None:
        self._spec = spec
        self._around = around
        self._storage = folder
        self._options = options
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
        # Refused before a number is taken and a folder is made.
        plan = self._decide(cluster)
        network = self._preview(plan)
        here = self._options.in_process
        if not here:
            refuse_cluster(plan, cluster, wait_min=self._options.wait_min)
        if keep:
            check_store(plan.store_uri)
        if not plan.continues:
            number = storage.claim_number(self._storage, plan.name)
            if number != plan.number:
                # Somebody else was quicker.
                plan = self._decide(cluster, number=number)
        if is_answered(plan):
            return show_record(plan, self._watch, network)
        with owned(plan.folder) as send:
            # Again: others may have finished runs until the lock was ours.
            plan = self._decide(cluster, number=plan.number)
            if is_answered(plan):
                return show_record(plan, self._watch, network)
            self._watch.planned(plan, network)
            if not here:
                wait_min = self._options.wait_min
                cluster, plan = settle(plan, cluster, self._watch, wait_min=wait_min)
            self._keep_sources(plan.folder / SOURCES, send)
            folder = self._source_folder()
            drive = Drive(
                plan,
                cluster,
                self._watch,
                here=here,
                wait_s=60 * self._options.wait_min,
                facts=_describe_facts(folder, plan.folder),
            )
            return drive.train(keep=keep)

    def _decide(self, cluster: Cluster, *, number: int | None = None) -> SearchPlan:
        plan = decide_search(
            self._spec,
            cluster.grown(),
            storage=self._storage,
            inputs=self._around.inputs,
            limits=self._options.limits,
            # Who debugs wants to see it train.
            fresh=self._options.fresh or self._options.in_process,
            number=number,
        )
        only = self._options.only_run
        return plan if only is None else pick_run(plan, only)

    def _preview(self, plan: SearchPlan) -> list[tuple[str, str]]:
        """What torch says of the first run, once it has refused none."""
        if not plan.missing or not needs_preview(plan.runs):
            return []
        return preview_runs(self._spec, plan.runs, sources=self._around.root)[0].rows()

    def _keep_sources(self, folder: Path, send: Callable[[], None]) -> None:
        """Copy the user's own code to where all nodes take it from."""
        with writing(folder):
            copy_sources(self._around.sources, folder)
        send()

    def _source_folder(self) -> Path | None:
        """The folder of the experiment file; None for a spec that was no file."""
        file = Path(self._spec.source)
        return file.absolute().parent if file.is_file() else None


def resume(
    plan: SearchPlan,
    cluster: Cluster,
    watch: Watch,
    *,
    again: Callable[[], SearchPlan],
    first: Path | None = None,
    wait_min: float = 0.0,
) -> SearchRecord:
    """Go on with a recorded search; errors as for `Execution`.

    Args:
        plan: What was recorded, with what of it is done.
        cluster: What the machines offer.
        watch: Looks on.
        again: The same plan, decided anew once nobody else can drive the search.
        first: The search whose working copy trained first; the plan's own where it is None.
        wait_min: Minutes for which GPUs that other searches hold are waited for.
    """
    check_store(plan.store_uri)
    if is_answered(plan):
        return show_record(plan, watch)
    refuse_cluster(plan, cluster, wait_min=wait_min)
    with owned(plan.folder) as send:
        plan = again()
        if is_answered(plan):
            return show_record(plan, watch)
        watch.planned(plan, [])
        cluster, plan = settle(plan, cluster, watch, wait_min=wait_min)
        facts = _describe_facts(find_working_copy(first or plan.folder), plan.folder)
        send()
        drive = Drive(plan, cluster, watch, facts=facts, wait_s=60 * wait_min)
        return drive.train(keep=True)


def _describe_facts(folder: Path | None, search: Path) -> dict[str, str]:
    """What is known of the software and of the working copy in a folder, kept with a search."""
    changes = save_changes(folder, search, storage=search.parents[1])
    return {**describe_software(folder), **changes}


def find_working_copy(search: Path) -> Path:
    """The working copy that a search began with, where it is still there."""
    history = SearchHistory(search)
    history.follow()
    root = Path(history.facts.get("git.root") or search)
    return root if root.is_dir() else search


@contextmanager
def owned(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a search, and send what is written of it where its storage is.

    Yields:
        As `sending`.

    Raises:
        InfeasibleError: Somebody else holds it, or the disk is full or gone.
    """
    with own(folder) as is_ours:
        if not is_ours:
            raise InfeasibleError(f"{folder}: another process drives it; wait for it")
        with sending(folder) as send:
            yield send


def is_answered(plan: SearchPlan) -> bool:
    """Whether the records hold all of a plan, its answer too."""
    if not plan.continues or plan.missing:
        return False
    return read_search(plan.folder).status == "finished"


def show_record(
    plan: SearchPlan, watch: Watch, network: Sequence[tuple[str, str]] = ()
) -> SearchRecord:
    """Answer from the records."""
    from orchestrator.comparison.summary import summarize_search

    watch.planned(plan, network)
    record = read_search(plan.folder)
    watch.answered(record, summarize_search(record))
    watch.ended(record, kept=True, mlflow_error="")
    return record
