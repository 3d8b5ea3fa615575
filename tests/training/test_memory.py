"""A device that holds a few images at a time: batches are cut until they fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.run_plan import Assignment
from orchestrator.training.loop import train
from orchestrator.training.memory import OutOfMemoryError
from tests import plans
from tests.device import DEVICE

MakeAssignment = Callable[..., Assignment]
NewWorker = Callable[..., Any]

NETWORK = """
import torch
from torch import nn

class Tight(nn.Sequential):
    '''Has memory for so many images while it is trained.'''

    def __init__(self, num_classes, most):
        layers = nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.2)
        super().__init__(*layers, nn.Linear(32, num_classes))
        self.most = most

    def forward(self, images):
        if torch.is_grad_enabled() and len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(images)
"""


@pytest.fixture
def make(make_assignment: MakeAssignment, tmp_path: Path) -> MakeAssignment:
    """Builds an assignment on a network that has memory for `most` images at once."""
    (tmp_path / "tight.py").write_text(NETWORK)

    def build(most: int, *, accumulate: int = 1, parts: int = 1, **place: Any) -> Assignment:
        assignment = make_assignment(
            model={"architecture": "tight:Tight", "arguments": {"most": most}},
            training={"accumulate": accumulate},
            place={"sources": str(tmp_path), **place},
        )
        return Assignment(plan=assignment.plan, attempt=1, parts=parts)

    return build


def test_what_does_not_fit_is_told_in_words(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """With how many parts it was tried, and what to do."""
    with pytest.raises(
        OutOfMemoryError, match=r"^out of memory with 1 part of a .*micro"
    ) as told:
        train(make(16), new_worker().context)
    assert told.value.next_parts == 2

    with pytest.raises(OutOfMemoryError) as last:
        train(make(1, parts=16), new_worker().context)
    assert last.value.next_parts is None


def test_parts_that_are_cut_again_train_as_if_cut_at_once(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """Twice the parts after a lack of memory: the bits of a plan with twice as many."""
    expected = train(make(16, accumulate=2), new_worker().context)
    worker = new_worker()

    assert train(make(16, parts=2), worker.context) == expected

    assert worker.notes == [{"note": "parts", "parts": 2}]


def test_as_few_parts_as_fit_are_found_before_the_first_step(
    make: MakeAssignment, new_worker: NewWorker
) -> None:
    """Batches of 32 where 10 fit: four parts, and the trying has changed no bit."""
    expected = train(make(10, accumulate=4), new_worker().context)
    worker = new_worker()

    assert train(make(10, accumulate=0), worker.context) == expected

    assert worker.notes == [{"note": "parts", "parts": 4}]


def test_a_training_that_goes_on_has_the_parts_that_it_had(
    make: MakeAssignment, new_worker: NewWorker, tmp_path: Path
) -> None:
    """They are in the checkpoint: another device would find others."""
    expected = train(make(10, accumulate=4), new_worker().context)
    broken = make(
        10, accumulate=0, folder=str(tmp_path / "b"), checkpoint=plans.checkpoint_plan()
    )
    train(broken, new_worker(steps_until_stop=2).context)

    assert train(broken, new_worker().context) == expected


SCORED = """
import torch
from torch import nn

class Scored(nn.Sequential):
    '''Has memory for so many images while it is scored.'''

    def __init__(self, num_classes, most):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))
        self.most = most

    def forward(self, images):
        if not torch.is_grad_enabled() and len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(images)
"""


def test_images_that_are_scored_in_smaller_batches_are_noted_once(
    make_assignment: MakeAssignment, new_worker: NewWorker, tmp_path: Path
) -> None:
    """Every epoch after the first begins with the size that fitted."""
    (tmp_path / "scored.py").write_text(SCORED)

    def score(most: int, folder: str) -> Any:
        worker = new_worker()
        assignment = make_assignment(
            model={"architecture": "scored:Scored", "arguments": {"most": most}},
            place={"sources": str(tmp_path), "folder": str(tmp_path / folder)},
        )
        train(assignment, worker.context)
        return worker

    roomy, tight = score(512, "a"), score(200, "b")

    assert roomy.notes == []
    assert tight.notes == [{"note": "scored", "at_once": 128}]
    for (_, here), (_, there) in zip(roomy.reports, tight.reports, strict=True):
        assert here == pytest.approx(there, rel=1e-6)


def test_a_network_that_never_fits_is_told(make: MakeAssignment, new_worker: NewWorker) -> None:
    """Not even two images, which batch normalisation needs."""
    with pytest.raises(OutOfMemoryError, match=rf"^not even 2 images fit on {DEVICE} at once"):
        train(make(1, accumulate=0), new_worker().context)
