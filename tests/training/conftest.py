"""Plans of trainings that take a fraction of a second; workers that keep what they report."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import orchestrator
from orchestrator.planning.run_plan import Assignment, Numbers, Place, RunPlan
from orchestrator.training.context import Verdict, WorkerContext, configure_process
from tests import plans
from tests.device import DEVICE

MakeAssignment = Callable[..., Assignment]

_SECTIONS = ("data", "model", "loss", "optimizer", "fine_tune", "schedule", "training")


def _tiny_numbers() -> Numbers:
    return Numbers(
        seed=3,
        deterministic="true",
        data=plans.data_plan(),
        model=plans.model_plan(),
        loss=plans.loss_plan(),
        optimizer=plans.optimizer_plan(),
        fine_tune=plans.fine_tune_plan(),
        schedule=plans.schedule_plan(),
        training=plans.training_plan(),
        world_size=1,
        threads=1,
        device=DEVICE.type,
        sources="",
        limit_batches=None,
        overfit_batches=None,
    )


@dataclass
class Worker:
    """A single worker, whose reports are kept in a list."""

    verdicts: list[Verdict] = field(default_factory=list)
    """Answers to the first reports; what is left is answered with `continue`."""
    reports: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    steps_until_stop: int | None = None
    notes: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def context(self) -> WorkerContext:
        """The worker as training sees it."""
        return WorkerContext(
            rank=0,
            world_size=1,
            device=DEVICE,
            report=self._report,
            stop_requested=self._stop_requested,
            note=self.notes.append,
        )

    def _report(self, epoch: int, metrics: Mapping[str, float]) -> Verdict:
        self.reports.append((epoch, metrics))
        return self.verdicts.pop(0) if self.verdicts else "continue"

    def _stop_requested(self) -> bool:
        if self.steps_until_stop is None:
            return False
        self.steps_until_stop -= 1
        return self.steps_until_stop == 0


@pytest.fixture
def worker() -> Worker:
    """A single worker, whose reports are kept in a list."""
    return Worker()


@pytest.fixture
def new_worker() -> type[Worker]:
    """Makes another worker, for tests that train twice."""
    return Worker


@pytest.fixture(scope="session")
def make_assignment_in() -> MakeAssignment:
    """Builds an assignment that writes to the folder that comes first."""

    def make(
        folder: Path,
        *,
        select: str = "last",
        metric: str = "val/accuracy",
        maximize: bool = True,
        place: Mapping[str, Any] = {},
        **changes: Any,
    ) -> Assignment:
        numbers = _tiny_numbers()
        for section in _SECTIONS:
            part = replace(getattr(numbers, section), **changes.pop(section, {}))
            numbers = replace(numbers, **{section: part})
        plan = RunPlan(
            run_id="digits/1/seed=3",
            setting={},
            select=select,  # type: ignore[arg-type]
            metric=metric,
            maximize=maximize,
            numbers=replace(numbers, **changes),
            place=Place(**{"folder": str(folder / "run"), "loader_workers": 0, **place}),
        )
        return Assignment(plan=plan, attempt=1)

    return make


@pytest.fixture
def make_assignment(make_assignment_in: MakeAssignment, tmp_path: Path) -> MakeAssignment:
    """Builds an assignment; `data`, `model`, `loss` and the like take the fields to replace."""
    return partial(make_assignment_in, tmp_path)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Each test computes as a lane with one thread does; the process is left as it was."""
    threads = torch.get_num_threads()
    configure_process(threads=1, deterministic="true", device=DEVICE)
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture(scope="session")
def child_environment() -> Mapping[str, str]:
    """The environment of a Python process that imports this very package."""
    path = [str(Path(orchestrator.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
