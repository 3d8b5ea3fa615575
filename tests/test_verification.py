"""What `verify` proves, and that it sees a promise broken."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import RecordError
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.training.equivalence import TOLERANCE, largest_difference
from orchestrator.verification import Check, Verification
from orchestrator.verifying import verification

NETWORKS = """
import os
import torch
from torch import nn

class Plain(nn.Sequential):
    def __init__(self, num_classes):
        body = nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3)
        super().__init__(*body, nn.Linear(32, num_classes))

class Restless(Plain):
    '''Draws from the operating system, which no seed reaches.'''

    def forward(self, images):
        noise = int.from_bytes(os.urandom(4), "big") / 2**32
        return super().forward(images) * (1 + noise * self.training)

class Counting(Plain):
    '''Weighs an image by how many others a worker has of the batch.'''

    def forward(self, images):
        return super().forward(images) * (1 + 0.01 * len(images) * self.training)

class OwnNorm(nn.BatchNorm1d):
    def forward(self, values):
        return 2 * super().forward(values)

class Apart(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), OwnNorm(64), nn.Linear(64, num_classes))

class Lonely(Plain):
    '''Cannot stand the company of another worker, and says so at length.'''

    def forward(self, images):
        from torch import distributed
        alone = not distributed.is_initialized() or distributed.get_rank() == 0
        if not alone and self.training and torch.is_grad_enabled():
            print("too many of us\\n" * 10_000)
            raise RuntimeError("rank 1 is not alone")
        return super().forward(images)
"""


@pytest.fixture
def checks_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens the checks of an own network by its name."""
    (tmp_path / "networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_STORAGE", str(tmp_path / "runs"))

    def write(name: str) -> str:
        path = tmp_path / "spec.yaml"
        path.write_text(
            f"name: own\ndata: {{dataset: digits, batch_size: 30}}\n"
            f"model: {{architecture: 'networks:{name}'}}\n"
            "optimizer: {name: adamw, lr: 0.01}\n"
            "training: {epochs: 3, ema: 0.9, clip_norm: 1}\n"
        )
        return str(path)

    return write


def try_all(checks: Mapping[str, Any], *words: str) -> list[Check]:
    """The checks whose names hold these words, in their order."""
    return [check() for name, check in checks.items() if any(word in name for word in words)]


def test_what_no_seed_reaches_is_found(checks_of: Any) -> None:
    """The first step and tensor that differ are named."""
    with verification(checks_of("Restless")) as (_, checks):
        (found,) = try_all(checks, "again")

    assert (found.verdict, found.detail) == ("broken", "step 1: loss")


def test_what_depends_on_the_share_of_a_worker_is_found(checks_of: Any) -> None:
    """Two workers train something else than one: with how far apart they are."""
    with verification(checks_of("Counting")) as (_, checks):
        (found,) = try_all(checks, "2 workers")

    assert found.verdict == "broken"
    assert found.detail.startswith("step 1: 1.weight by ")


def test_a_worker_that_crashes_breaks_the_promise(checks_of: Any) -> None:
    """With its own error, not with that of the one that waits for it; its output is read."""
    with verification(checks_of("Lonely")) as (_, checks):
        (found,) = try_all(checks, "2 workers")

    assert (found.verdict, found.detail) == ("broken", "RuntimeError: rank 1 is not alone")


def test_what_workers_cannot_share_is_not_tried(checks_of: Any) -> None:
    """A normalisation that refuses to share its statistics is no broken promise."""
    with verification(checks_of("Apart")) as (_, checks):
        (found,) = try_all(checks, "2 workers")

    assert found.verdict == "not tried"
    assert found.detail.startswith("model.sync_batch_norm: 1 is a OwnNorm, whose forward")


def test_neither_file_nor_run(checks_of: Any) -> None:
    """A file may have been meant as well as a run: both are denied, with a file like it."""
    checks_of("Plain")

    message = r"^spec: no such file; did you mean 'spec\.yaml'\?\nnor a run: 'spec': no run"
    with pytest.raises(RecordError, match=message), verification("spec"):
        pass


def test_a_lane_on_another_machine_is_not_tried(tmp_path: Path, checks_of: Any) -> None:
    """Its files could not be compared; the check says so."""
    with verification(checks_of("Plain")) as (_, checks):
        (lane,) = (check for name, check in checks.items() if "lane, a cold" in name)
        own: Verification = lane.__self__
        nodes = (Node(name="a", cpus=1, gpus=0), Node(name="b", cpus=1, gpus=0))
        elsewhere = Verification(own.search, Cluster(nodes=nodes, address="a:1"), tmp_path)

        (found,) = try_all(elsewhere.checks(), "lane, a cold")

    assert found.verdict == "not tried"


def test_nan_is_no_agreement(tmp_path: Path) -> None:
    """Two trainings that both end in NaN, or one of them, prove nothing."""
    for name, value in (("one", 1.0), ("two", float("nan"))):
        (tmp_path / name).mkdir()
        torch.save({"w": torch.tensor([value])}, tmp_path / name / "step-0001.pt")

    apart, step, tensor = largest_difference(tmp_path / "one", tmp_path / "two")

    assert (step, tensor) == (1, "w")
    assert not apart <= TOLERANCE
