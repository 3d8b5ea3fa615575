"""Two worker processes over gloo normalise one batch as torch's layer does in one process."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.sync_batch_norm import check_batch_norm, convert_batch_norm

SCRIPT = Path(__file__).with_name("batch_norm_process.py")

TRACKED = ["1d", "1d-long", "3d", "not-affine", "no-momentum", "frozen", "empty-share"]
EXACT = ["float64-64", "float64-37", *TRACKED, "untracked"]
FLOAT32 = ["float32-64", "float32-37"]

with_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


class Found(NamedTuple):
    """What two workers found, and what one worker finds with torch's own layer."""

    pair: list[dict[str, Any]]
    alone: dict[str, Any]


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]
) -> Found:
    """Two workers, started once for all cases."""
    folder = tmp_path_factory.mktemp("batch-norm")
    workers = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(folder)],
            env=child_environment,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    said = [worker.communicate(timeout=120)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(said)
    first, second, alone = (torch.load(folder / f"{name}.pt") for name in (0, 1, "alone"))
    return Found([first, second], alone)


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest difference, relative to the largest value where that is above 1."""
    assert first.shape == second.shape
    assert first.dtype == second.dtype
    gap = (first.double() - second.double()).abs().max()
    return float(gap / second.double().abs().max().clamp(min=1.0))


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        *((case, 1e-14) for case in EXACT),
        *((case, 1e-6) for case in FLOAT32),
        pytest.param("timm", 1e-14, marks=with_timm),
    ],
)
def test_two_workers_normalise_as_one_with_the_whole_batch(
    found: Found, case: str, tolerance: float
) -> None:
    """Outputs, gradients of images and parameters, and running statistics, batch by batch."""
    alone = found.alone[case]
    first, second = (worker[case] for worker in found.pair)

    assert "CPUSyncBatchNorm" in first["type"]
    for key in ("outputs", "gradients"):
        for at, whole in enumerate(alone[key]):
            assert distance(torch.cat([first[key][at], second[key][at]]), whole) <= tolerance
    assert list(first["parameters"]) == list(alone["parameters"])
    for name, gradient in alone["parameters"].items():
        both = first["parameters"][name] + second["parameters"][name]
        assert distance(both, gradient) <= tolerance
    for worker in (first, second):
        assert list(worker["state"]) == list(alone["state"])
        for name, value in alone["state"].items():
            assert distance(worker["state"][name], value) <= tolerance


def test_frozen_statistics_stay_as_they_were(found: Found) -> None:
    """A layer in evaluation mode normalises by 0 and 1, and counts no batch."""
    for worker in found.pair:
        state = worker["frozen"]["state"]
        assert torch.equal(state["running_mean"], torch.zeros(6, dtype=torch.float64))
        assert torch.equal(state["running_var"], torch.ones(6, dtype=torch.float64))
        assert state["num_batches_tracked"] == 0


def test_statistics_of_both_workers_are_the_same_to_the_bit(found: Found) -> None:
    """Networks that drift apart would not be one network."""
    for case in (*EXACT, *FLOAT32, "bfloat16"):
        first, second = (worker[case]["state"] for worker in found.pair)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_half_precision_is_summed_in_single(found: Found) -> None:
    """Running statistics of bfloat16 images are as exact as float32's.

    bfloat16 sums would miss them by 1 in 256. The output is bfloat16 again, rounded once.
    """
    alone = found.alone["bfloat16"]
    first, second = (worker["bfloat16"] for worker in found.pair)

    assert first["outputs"][0].dtype == torch.bfloat16
    for name in ("running_mean", "running_var"):
        assert distance(first["state"][name], alone["state"][name]) < 1e-5
    for at, whole in enumerate(alone["outputs"]):
        assert distance(torch.cat([first["outputs"][at], second["outputs"][at]]), whole) < 2**-7


def test_a_training_of_two_workers_is_that_of_one(found: Found) -> None:
    """Four steps of a whole network through DDP, the last of them on 19 and 18 images."""
    alone = found.alone["network"]["state"]

    for worker in found.pair:
        state = worker["network"]["state"]
        assert list(state) == list(alone)
        assert max(distance(state[name], alone[name]) for name in alone) < 1e-12


def test_one_value_per_channel_is_refused_by_both(found: Found) -> None:
    """Neither waits for the other for ever."""
    for worker in found.pair:
        assert worker["too few"].startswith(
            "batch normalisation needs more than one value per channel in training (got ("
        )


def test_one_worker_keeps_torchs_own_layers() -> None:
    """There is nothing to share."""
    model = nn.Sequential(nn.BatchNorm2d(3))
    layer = model[0]

    converted = convert_batch_norm(model, torch.device("cpu"))

    assert converted is model
    assert model[0] is layer


@pytest.mark.parametrize(
    ("device", "layer"), [("cpu", "CPUSyncBatchNorm"), ("cuda", "SyncBatchNorm")]
)
def test_conversion_keeps_parameters_and_buffers(found: Found, device: str, layer: str) -> None:
    """The same tensors under the same names, and each layer's mode; torch's own for GPUs."""
    for worker in found.pair:
        converted = worker["conversion"][device]
        assert converted["types"] == [layer, layer]
        assert converted["training"] == [True, False]
        assert converted["same tensors"]


@with_timm
def test_timms_layers_go_on_activating_on_gpus(found: Found) -> None:
    """Both would be left out by torch's own conversion."""
    for worker in found.pair:
        converted = worker["timm on cuda"]
        assert converted["types"] == ["_SyncBatchNormAct", "_SyncBatchNormAct"]
        assert converted["activations"] == [["Identity", "ReLU"]] * 2
        assert converted["training"] == [True, False]
        assert converted["same tensors"]


class Doubles(nn.BatchNorm2d):
    """Does more than torch's."""

    def forward(self, input: Tensor) -> Tensor:
        """Twice that."""
        return 2 * super().forward(input)


def test_a_normalisation_that_does_more_is_refused() -> None:
    """Its forward would be lost without a word."""
    message = (
        r"^model\.sync_batch_norm: 1 is a Doubles, whose forward is not torch's and would be "
        r"lost; use torch\.nn\.BatchNorm2d there, or leave sync_batch_norm out$"
    )

    with pytest.raises(TrainingError, match=message):
        check_batch_norm(nn.Sequential(nn.BatchNorm2d(2), Doubles(2)))
