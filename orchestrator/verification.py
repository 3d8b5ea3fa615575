"""Verb `verify`: what is promised of numbers, tried on the user's own experiment.

A few steps are trained again and again, each time in another way that must change nothing, and
every tensor is compared after every step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from orchestrator.errors import TrainingError
from orchestrator.launch.programs import (
    CrashedError,
    Program,
    begin_program,
    wait_for_programs,
)
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.run_plan import Assignment, CheckpointPlan, Numbers, RunPlan
from orchestrator.planning.search_plan import SearchPlan

EPOCHS: Final = 2
STEPS: Final = 4
"""Of each epoch."""
SHARED_STEPS: Final = 10
"""That one worker takes, and two."""
_BREAK: Final = 2
"""Steps before the interruption: in the middle of an epoch."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whether a promise holds."""

    verdict: Literal["proved", "broken", "not tried"]
    detail: str


class Verification:
    """Tries the promises on one run.

    Args:
        plan: The search of that one run.
        cluster: The machines at hand.
        folder: For everything that is written; may be removed afterwards.
    """

    def __init__(self, plan: SearchPlan, cluster: Cluster, folder: Path) -> None:
        (run,) = plan.runs
        self.search = plan
        """Of the run that is tried on."""
        self._cluster = cluster
        self._folder = folder
        self._run = shorten(run)

    def checks(self) -> Mapping[str, Callable[[], Check]]:
        """What can be tried, by what it promises; a later one builds on those before it."""
        there = self._run.place.loader_workers
        other = 0 if there else 2
        return {
            "trained again in another process": self._train_again,
            f"interrupted after step {_BREAK} and resumed": _broken_if_crashed(self._interrupt),
            f"{other} loader processes, {there}": _broken_if_crashed(
                lambda: self._change_loaders(other)
            ),
            "a warm lane, a cold process": self._use_lane,
            "run --in-process, a lane": self._stay_here,
            f"2 workers, 1: {SHARED_STEPS} steps in float64": _broken_if_crashed(self._share),
        }

    def _train_again(self) -> Check:
        wait_for_programs([self._begin_cold(name) for name in ("cold", "again")])
        return self._compare("again")

    def _interrupt(self) -> Check:
        often = CheckpointPlan(
            every_epochs=0, every_steps=None, keep_last=2, keep_best=0, keep_final=False
        )
        first = self._begin_cold("resumed", stop_after=_BREAK, checkpoint=often)
        (said,) = wait_for_programs([first])
        assert '"stopped"' in said, said
        wait_for_programs([self._begin_cold("resumed", checkpoint=often)])
        return self._compare("resumed")

    def _change_loaders(self, number: int) -> Check:
        wait_for_programs([self._begin_cold("loaders", loader_workers=number)])
        return self._compare("loaders")

    def _use_lane(self) -> Check:
        if len(self._cluster.nodes) > 1:
            return Check(verdict="not tried", detail="the lane may be on another machine")
        if self.search.lanes.cpus_per_worker > self._cluster.cpus:
            return Check(verdict="not tried", detail="this machine has too few CPUs for a lane")
        from orchestrator.launch.devices import Patience
        from orchestrator.launch.run import launch

        other = replace(self._run.numbers, seed=self._run.numbers.seed + 1)
        warming = self._place(replace(self._run, numbers=other, run_id="verify/1/warm"), "warm")
        runs = (warming, self._place(self._run, "lane"))
        plan = replace(
            self.search,
            folder=self._folder,
            runs=runs,
            lanes=self.search.lanes.cut(1, workers=1),
        )
        with launch(plan, self._cluster, {}, {}, Patience()) as launched:
            if not launched.wait(lambda: None):
                raise KeyboardInterrupt
        return self._compare("lane")

    def _stay_here(self) -> Check:
        from orchestrator.launch.in_process import train_here
        from orchestrator.tracking.journal import Journal

        book = Journal(self._folder / "here")
        lanes = replace(self.search.lanes, workers=1)
        train_here(self._place(self._run, "here"), lanes, book, lambda: None)
        book.close()
        return self._compare("here", "lane" if self._trace("lane").exists() else "cold")

    def _share(self) -> Check:
        from orchestrator.training.equivalence import (
            TOLERANCE,
            describe_steps,
            largest_difference,
        )

        model = replace(self._run.numbers.model, sync_batch_norm=True)
        training = replace(self._run.numbers.training, precision="float32", compile=False)
        numbers = replace(
            self._run.numbers, model=model, training=training, device="cpu", limit_batches=None
        )
        processes = []
        for count in (1, 2):
            out = self._folder / f"workers-{count}"
            out.mkdir()
            plan = replace(self._run, numbers=replace(numbers, world_size=count))
            processes += [
                begin_program(
                    "equivalence",
                    describe_steps(
                        plan, steps=SHARED_STEPS, rank=rank, world_size=count, out=out
                    ),
                )
                for rank in range(count)
            ]
        try:
            wait_for_programs(processes)
        except CrashedError:
            raise
        except TrainingError as error:
            # Such as a normalisation that cannot share its statistics.
            return Check(verdict="not tried", detail=str(error))
        apart, step, tensor = largest_difference(
            self._folder / "workers-1", self._folder / "workers-2"
        )
        if not apart <= TOLERANCE:
            return Check(verdict="broken", detail=f"step {step}: {tensor} by {apart:.1e}")
        detail = f"within {apart:.1e}; dropout off, batch statistics shared"
        return Check(verdict="proved", detail=detail)

    def _compare(self, name: str, other: str = "cold") -> Check:
        from orchestrator.training.trace import find_parting, read_trace

        if not self._trace(name).exists():
            return Check(verdict="broken", detail="it failed before its first step")
        first, second = (read_trace(self._trace(each)) for each in (other, name))
        parting = find_parting(first, second)
        if parting is not None:
            return Check(verdict="broken", detail=f"step {parting.step}: {parting.tensor}")
        return Check(
            verdict="proved",
            detail=f"{len(first)} steps, {len(first[-1])} tensors, bit for bit",
        )

    def _begin_cold(
        self, name: str, *, stop_after: int | None = None, **place: object
    ) -> Program:
        from orchestrator.training.trial import describe_trial

        run = self._place(self._run, name)
        run = replace(run, place=replace(run.place, **place))  # type: ignore[arg-type]
        assignment = Assignment(plan=run, attempt=1)
        return begin_program("trial", describe_trial(assignment, stop_after=stop_after))

    def _place(self, run: RunPlan, name: str) -> RunPlan:
        """The run in a folder of its own, which leaves a trace."""
        place = replace(
            run.place,
            folder=str(self._folder / name),
            trace=str(self._trace(name)),
            checkpoint=None,
            extends="",
        )
        return replace(run, place=place)

    def _trace(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"


def shorten(run: RunPlan) -> RunPlan:
    """A run of a few steps of two epochs, by one worker, that is the same in all else."""
    numbers = run.numbers
    schedule = replace(
        numbers.schedule,
        warmup_epochs=numbers.schedule.warmup_epochs * EPOCHS / numbers.training.epochs,
    )
    training = replace(numbers.training, epochs=EPOCHS, early_stopping=None)
    short: Numbers = replace(
        numbers, schedule=schedule, training=training, world_size=1, limit_batches=STEPS
    )
    return replace(run, numbers=short)


def _broken_if_crashed(check: Callable[[], Check]) -> Callable[[], Check]:
    """A promise is broken, too, where what shall give the same numbers gives none."""

    def tried() -> Check:
        try:
            return check()
        except CrashedError as error:
            return Check(verdict="broken", detail=str(error))

    return tried
