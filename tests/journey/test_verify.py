"""`orchestrator verify`, as its user sees it."""

from pathlib import Path

import pytest

from tests.journey.conftest import Orchestrate

REMEMBERS = """
from torch import nn

BUILT = []

class Remembers(nn.Sequential):
    '''Another network for every one that its process has built on a real device.'''

    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))

    def forward(self, images):
        if self.training and self not in BUILT:
            BUILT.append(self)
        return super().forward(images) * len(BUILT or [0])
"""


PLAIN = """
from torch import nn

class Plain(nn.Sequential):
    def __init__(self, num_classes):
        body = nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3)
        super().__init__(*body, nn.Linear(32, num_classes))
"""


def test_every_promise_is_proved(orchestrate: Orchestrate, tmp_path: Path) -> None:
    """Six lines on one's own network, each proved; nothing is recorded.

    With dropout, an average of the weights, AdamW, clipping.
    """
    (tmp_path / "own.py").write_text(PLAIN)
    (tmp_path / "spec.yaml").write_text(
        "name: own\ndata: {dataset: digits, batch_size: 30}\n"
        "model: {architecture: 'own:Plain'}\noptimizer: {name: adamw, lr: 0.01}\n"
        "training: {epochs: 3, ema: 0.9, clip_norm: 1}\n"
    )

    said = orchestrate("verify", "spec.yaml")

    assert said.status == 0, said.err + said.out
    assert said.out.count(" proved ") == 6
    assert "8 steps, 38 tensors, bit for bit" in said.out
    assert orchestrate("compare", "own").status == 2


@pytest.mark.slow
def test_a_network_that_remembers_is_found(orchestrate: Orchestrate, tmp_path: Path) -> None:
    """A warm lane is no cold process for it: exit status 6, with the step and the tensor."""
    (tmp_path / "own.py").write_text(REMEMBERS)
    (tmp_path / "spec.yaml").write_text(
        "name: own\ndata: {dataset: digits}\nmodel: {architecture: 'own:Remembers'}\n"
        "training: {epochs: 2}\n"
    )

    said = orchestrate("verify", "spec.yaml")

    assert said.status == 6, said.err + said.out
    lines = {line.strip().split("  ")[0]: line for line in said.out.splitlines()}
    assert " proved " in lines["trained again in another process"]
    assert " broken   step 1: loss" in lines["a warm lane, a cold process"]
