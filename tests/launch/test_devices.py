"""GPUs one by one: what nvidia-smi lists, what tokens say, what a worker sees."""

import os
from pathlib import Path

import pytest

from orchestrator.launch.devices import VARIABLE, find_here, leave_visible, pin, read_tokens

SMI = """#!/bin/sh
for i in 0 1 2; do echo "GPU $i: NVIDIA A100 (80 GB) (UUID: GPU-$i$i$i)"; done
"""


@pytest.fixture
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine whose driver lists three GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return monkeypatch


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("2,0", ["2", "0"]),
        ("GPU-11,0", ["1", "0"]),
        ("-1", []),
        ("1,-1,2", ["1"]),
        ("0,7,1", ["0"]),
    ],
)
def test_an_inherited_variable_bounds_what_is_there(
    three_gpus: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    """As CUDA reads it: in its order, up to the first entry that means nothing."""
    three_gpus.delenv(VARIABLE, raising=False)
    if visible is not None:
        three_gpus.setenv(VARIABLE, visible)

    assert [device.index for device in find_here()] == expected


def test_devices_are_known_by_their_uuids(three_gpus: pytest.MonkeyPatch) -> None:
    """As nvidia-smi lists them."""
    three_gpus.delenv(VARIABLE, raising=False)

    assert [device.uuid for device in find_here()] == ["GPU-000", "GPU-111", "GPU-222"]


def test_tokens_are_gpus() -> None:
    """In the order of their numbers, with the UUIDs of the labels and who holds them."""
    resources = {"CPU": 4.0, "gpu_10": 1.0, "gpu_2": 1.0, "gpu_memory": 3.0}

    found = read_tokens(resources, {"gpu_2": "GPU-two"}, {"gpu_10": "demo#1"})

    assert [(one.index, one.uuid, one.holder) for one in found] == [
        ("2", "GPU-two", ""),
        ("10", "", "demo#1"),
    ]


def test_a_worker_sees_its_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone its own GPU; among others all of theirs, its own by its local rank."""
    monkeypatch.setenv(VARIABLE, "9")

    alone = pin(("3", "1"), 1, alone=True), os.environ[VARIABLE]
    among = pin(("3", "1"), 1, alone=False), os.environ[VARIABLE]

    assert alone == (0, "1")
    assert among == (1, "3,1")


def test_what_is_started_sees_these_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is put back; without devices it is left as it was."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with leave_visible(("0", "2")):
        inside = os.environ[VARIABLE]
    monkeypatch.setenv(VARIABLE, "1")
    with leave_visible(()):
        untouched = os.environ[VARIABLE]
    with leave_visible(("2",)):
        pass

    assert (inside, untouched, os.environ[VARIABLE]) == ("0,2", "1", "1")
