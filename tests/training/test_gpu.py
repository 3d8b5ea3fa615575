"""What a GPU alone can show: memory that runs out, steps that must not wait, other kernels."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Assignment
from orchestrator.planning.section_plans import NormalizePlan
from orchestrator.training import trial
from orchestrator.training.context import WorkerContext, describe_process
from orchestrator.training.data.build import build_data
from orchestrator.training.data.loader import TrainLoader
from orchestrator.training.evaluation import evaluate
from orchestrator.training.loop import train
from orchestrator.training.loss import Targets
from orchestrator.training.memory import OutOfMemoryError, end_memory, release_memory
from orchestrator.training.precision import Precision
from orchestrator.training.restore import restore_run
from orchestrator.training.state import TrainingState
from tests.device import DEVICE, needs_gpu

MakeAssignment = Callable[..., Assignment]
NewWorker = Callable[..., Any]

pytestmark = needs_gpu

WIDE = """
from torch import nn

class Wide(nn.Module):
    '''Keeps 4 MiB for each of `depth` layers of each image while it is trained.'''

    def __init__(self, num_classes, depth):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.drop = nn.Dropout(0.1)
        self.layers = nn.ModuleList(nn.Sigmoid() for _ in range(depth))
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        values = self.norm(images).flatten(1)[:, None].expand(-1, 16384, -1)
        for layer in self.layers:
            values = layer(values)
        return self.head(self.drop(values.mean(1)))
"""
POOLED = """
from torch import nn

class Pooled(nn.Sequential):
    '''Pools to nine places, as VGG and AlexNet pool to 49.'''

    def __init__(self, num_classes):
        pool = nn.AdaptiveAvgPool2d(3)
        super().__init__(nn.Conv2d(1, 4, 3), pool, nn.Flatten(), nn.Linear(36, num_classes))
"""
TECHNIQUES: dict[str, dict[str, Any]] = {
    "plain": {},
    "loader processes": {"place": {"loader_workers": 2}},
    "mixed": {"data": {"mixup": 0.4, "cutmix": 1.0}},
    "parts, clipping, average": {"training": {"accumulate": 2, "clip_norm": 1.0, "ema": 0.9}},
    "adamw, bce": {
        "optimizer": {"name": "adamw", "arguments": {}},
        "loss": {"name": "bce"},
    },
    "weighed classes": {"loss": {"class_weights": "balanced"}},
    "others smoothed": {"loss": {"smoothing": "others"}},
    "bfloat16": {"training": {"precision": "bfloat16"}, "model": {"channels_last": True}},
    "normalised": {"data": {"normalize": NormalizePlan(by="given", mean=(0.3,), std=(0.2,))}},
}


@contextmanager
def memory_left(count: int) -> Iterator[None]:
    """Let this process have so many bytes more than it holds now."""
    release_memory()
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    share = (torch.cuda.memory_reserved(DEVICE) + count) / total
    torch.cuda.set_per_process_memory_fraction(share, DEVICE)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
        release_memory()


@pytest.fixture
def make_wide(make_assignment: MakeAssignment, tmp_path: Path) -> MakeAssignment:
    """Builds an assignment on `Wide` of so many layers; `accumulate` parts, 0 to find them."""
    (tmp_path / "wide.py").write_text(WIDE)

    def build(depth: int, *, accumulate: int, parts: int = 1) -> Assignment:
        assignment = make_assignment(
            model={"architecture": "wide:Wide", "arguments": {"depth": depth}},
            training={"accumulate": accumulate},
            place={"sources": str(tmp_path)},
        )
        return Assignment(plan=assignment.plan, attempt=1, parts=parts)

    return build


def test_a_batch_that_does_not_fit_is_cut_until_it_does(
    make_wide: MakeAssignment, new_worker: NewWorker
) -> None:
    """32 images need 1.2 GiB; in 500 MiB they fit in four parts: tried, or found before."""
    expected = train(make_wide(8, accumulate=4), new_worker().context)
    with memory_left(500 * 2**20):
        worker = new_worker()
        for parts in (1, 2):
            with pytest.raises(OutOfMemoryError) as told:
                train(make_wide(8, accumulate=1, parts=parts), worker.context)
            assert told.value.next_parts == 2 * parts
            del told
            release_memory()
        cut = train(make_wide(8, accumulate=1, parts=4), worker.context)
        found = new_worker()
        automatic = train(make_wide(8, accumulate=0), found.context)

    assert cut.weights_sha256 == automatic.weights_sha256 == expected.weights_sha256
    assert found.notes == [{"note": "parts", "parts": 4}] == worker.notes[-1:]


def test_a_run_gives_its_memory_back(make_wide: MakeAssignment, new_worker: NewWorker) -> None:
    """It is counted: the peak of each run by itself, and what is left: next to nothing."""
    end_memory(DEVICE)
    train(make_wide(8, accumulate=1), new_worker().context)
    large = end_memory(DEVICE)
    train(make_wide(8, accumulate=4), new_worker().context)
    small = end_memory(DEVICE)

    assert large["peak"] > 2**30 > small["peak"] > 2**27
    assert max(large["left"], small["left"]) < 2**28
    assert max(large["reserved"], small["reserved"]) < 2**28


def test_validation_that_does_not_fit_is_scored_in_smaller_batches(
    make_wide: MakeAssignment, new_worker: NewWorker
) -> None:
    """512 images need 4 GiB at once; all 700 are scored in one."""
    roomy, tight = new_worker(), new_worker()
    train(make_wide(1, accumulate=1), roomy.context)

    with memory_left(2**30):
        train(make_wide(1, accumulate=1), tight.context)

    assert roomy.notes == []
    assert tight.notes == [{"note": "scored", "at_once": 128}]
    for (_, here), (_, there) in zip(roomy.reports, tight.reports, strict=True):
        assert here == pytest.approx(there, rel=1e-5)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_nothing_in_a_step_waits_for_the_device(
    make_assignment: MakeAssignment, new_worker: NewWorker, name: str
) -> None:
    """Batches and steps of an epoch, but for the first, which allocates and tunes."""
    plan = make_assignment(**TECHNIQUES[name]).plan
    context: WorkerContext = new_worker().context
    data = build_data(plan.numbers.data, plan.place, seed=plan.numbers.seed)
    loader = TrainLoader(
        data.train,
        plan.numbers.data,
        seed=plan.numbers.seed,
        rank=0,
        world_size=1,
        device=DEVICE,
        loader_workers=plan.place.loader_workers,
    )
    state = TrainingState.begin(
        plan.numbers, plan.place, data, context, steps_per_epoch=loader.steps_per_epoch
    )

    def train_epoch(number: int) -> None:
        state.begin_epoch(number)
        for batch in loader.epoch(number):
            targets = Targets(batch.labels, batch.partner_labels, batch.lam)
            state.step(batch.images, targets, batch_size=batch.batch_size)

    train_epoch(1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        # That it is told at all.
        with pytest.raises(RuntimeError, match="synchronizing"):
            torch.ones((), device=DEVICE).item()
        train_epoch(2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        loader.close()


def test_weights_of_a_gpu_are_scored_on_a_cpu(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """The same network, to float32's precision."""
    assignment = make_assignment()
    train(assignment, worker.context)
    cpu = torch.device("cpu")

    plan = assignment.plan
    restored = restore_run(plan, cpu)
    data = build_data(plan.numbers.data, plan.place, seed=3)
    here = WorkerContext(rank=0, world_size=1, device=cpu, report=lambda *_: "continue")
    precision = Precision.of("float32", cpu, channels_last=False)
    _, predictions, _ = evaluate(
        restored.model, data.val, plan.numbers.data, here, precision=precision, loader_workers=0
    )

    with np.load(Path(plan.place.folder) / "predictions.npz") as stored:
        assert np.array_equal(stored["ids"], predictions.ids.numpy())
        assert np.allclose(stored["logits"], predictions.logits.numpy(), atol=1e-4)


def test_an_operator_without_a_deterministic_form_is_named(
    make_assignment: MakeAssignment, worker: Any, tmp_path: Path
) -> None:
    """Here the gradient of a pooling, which adds in whatever order its threads come."""
    (tmp_path / "pooled.py").write_text(POOLED)
    assignment = make_assignment(
        model={"architecture": "pooled:Pooled"}, place={"sources": str(tmp_path)}
    )

    with pytest.raises(
        TrainingError, match=r"^deterministic: adaptive_avg_pool2d_backward_cuda has no .* cuda"
    ):
        train(assignment, worker.context)


def test_the_process_says_how_it_computes() -> None:
    """Everything that last digits depend on."""
    facts = describe_process(DEVICE, rank=0)

    assert facts["device_name"] == torch.cuda.get_device_name(DEVICE)
    assert facts["device_uuid"]
    assert facts["tf32"] is False
    assert facts["cudnn_deterministic"] is True
    assert facts["cublas_workspace_config"] in {":4096:8", ":16:8"}


COMPILED: dict[str, Any] = {
    "model": {"channels_last": True},
    "training": {"precision": "bfloat16", "compile": True},
}


@pytest.mark.parametrize("changes", [{}, COMPILED], ids=["plain", "compiled"])
def test_every_process_computes_the_same_bits(
    make_assignment_in: MakeAssignment,
    new_worker: NewWorker,
    child_environment: Mapping[str, str],
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    """Two that start anew, each with kernels of its own, and this one."""
    expected = train(make_assignment_in(tmp_path / "here", **changes), new_worker().context)

    for name in ("first", "second"):
        assignment = make_assignment_in(tmp_path / name, **changes)
        finished = subprocess.run(
            [sys.executable, "-m", trial.__name__, trial.describe_trial(assignment)],
            env={**child_environment, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / name / "c")},
            check=True,
            capture_output=True,
            timeout=200,
        )
        found = json.loads(finished.stdout.decode().splitlines()[-1])
        assert found == {"status": "finished", "weights": expected.weights_sha256}


def test_frozen_layers_learn_from_their_epoch_on(
    make_assignment: MakeAssignment, new_worker: NewWorker
) -> None:
    """The head alone, then everything, compiled: what learns changes between two epochs."""
    changes: dict[str, Any] = {
        "fine_tune": {"linear_probe_epochs": 1},
        "training": {"epochs": 2, "compile": True},
    }

    first = train(make_assignment(**changes), new_worker().context)
    second = train(make_assignment(**changes), new_worker().context)

    assert first == second
