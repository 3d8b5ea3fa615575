"""What is said of machines, each rule with what would mend it."""

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.doctor.findings import Finding, list_findings, worst

GPU = {"index": "0", "name": "A100", "uuid": "GPU-0", "memory.total": "81920"}
HELD = {
    "pid": "77",
    "gpu_uuid": "GPU-0",
    "used_memory": "500",
    "command": "python other.py",
    "is_rays": False,
}


def report(**changes: Any) -> dict[str, Any]:
    """What a healthy machine says, but for what is changed."""
    values: dict[str, Any] = {
        "host": "a",
        "versions": {"python": "3.11.7", "torch": "2.15.0", "our source": "abc"},
        "torch": {"cuda": "13.0", "cudnn": "91000", "cuda_available": False},
        "gpus": [],
        "processes": [],
        "visible": None,
        "storage": {"sees_mark": True, "error": "", "free": 50 << 30},
        "shm_free": 8 << 30,
        "open_files": 65536,
        "has_broker": False,
    }
    return values | changes


def say(
    reports: Mapping[str, Mapping[str, Any]], *, has_runs: bool = False
) -> list[tuple[str, str, str]]:
    """Level, subject and text of what is wrong."""
    found = list_findings(reports, folder="/runs", has_runs=has_runs)
    return [(one.level, one.subject, one.text) for one in found if one.level != "ok"]


def test_nothing_is_wrong_with_healthy_machines() -> None:
    """Each subject has its line all the same."""
    found = list_findings({"a": report(), "b": report(skew_s=0.1)}, folder="/r", has_runs=False)

    assert worst(found) == "ok"
    assert {one.subject for one in found} == {
        "versions", "GPUs", "storage", "limits", "clocks"
    }  # fmt: skip
    assert all(not one.mend for one in found)
    assert "python 3.11.7, torch 2.15.0, the same on 2 machines" in found[0].text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"versions": {"python": "3.12.1", "torch": "", "our source": "abc"}},
            [
                ("stop", "versions", "python is 3.12.1 on b, 3.11.7 on a"),
                ("stop", "versions", "torch is not there on b, 2.15.0 on a"),
            ],
        ),
        (
            {"versions": {"python": "3.11.7", "torch": "2.15.0", "our source": "abd"}},
            [("stop", "versions", "our source is abd on b, abc on a")],
        ),
        (
            {"torch": {"error": "OSError: libcudart.so"}},
            [("stop", "torch", "b: cannot be imported (OSError: libcudart.so)")],
        ),
        (
            {"gpus": [GPU]},
            [("stop", "torch", "b: cannot use its 1 GPU; it is built for CUDA 13.0")],
        ),
        (
            {"gpus": [GPU], "torch": {"cuda": "", "cudnn": "", "cuda_available": False}},
            [("stop", "torch", "b: cannot use its 1 GPU; it is built for CPUs alone")],
        ),
        ({"gpus": [GPU], "visible": ""}, []),
        (
            {"storage": {"sees_mark": False, "error": "", "free": 50 << 30}},
            [("stop", "storage", "b: does not see what is written to /runs on a")],
        ),
        (
            {"storage": {"sees_mark": True, "error": "Read-only file system", "free": 1 << 40}},
            [("stop", "storage", "b: cannot write to /runs (Read-only file system)")],
        ),
        (
            {"storage": {"sees_mark": True, "error": "", "free": 1 << 29}},
            [("stop", "storage", "b: /runs has 0.5 GiB left")],
        ),
        ({"open_files": 1024}, [("mend", "limits", "b: a process may have 1,024 files open")]),
        ({"open_files": -1}, []),
        (
            {"shm_free": 64 << 20},
            [("mend", "limits", "b: 0.06 GiB of shared memory are free")],
        ),
        ({"skew_s": -90.0}, [("mend", "clocks", "b: is 90 s behind")]),
    ],
)
def test_what_is_wrong_with_a_machine_is_named(
    changes: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    """With its name; a run is stopped by it, or survives it."""
    assert say({"a": report(), "b": report(**changes)}) == expected


def test_gpu_memory_that_no_run_holds_is_named() -> None:
    """A stranger's process, and one that a search has left; not those of a living search."""
    usable = {"cuda": "13.0", "cudnn": "9", "cuda_available": True}
    ours = {**HELD, "pid": "78", "command": "ray::RayTrainWorker", "is_rays": True}
    machine = {"a": report(gpus=[GPU], torch=usable, processes=[HELD, ours])}

    idle, busy = say(machine), say(machine, has_runs=True)

    text = "a: process 77 holds 500 MiB of GPU 0, not ours (python other.py)"
    assert busy == [("mend", "GPU memory", text)]
    assert idle[1][2] == (
        "a: process 78 holds 500 MiB of GPU 0, left by a search that has gone "
        "(ray::RayTrainWorker)"
    )
    mends = [
        one.mend
        for one in list_findings(machine, folder="/r", has_runs=False)
        if one.level == "mend"
    ]
    assert mends == ["if nobody needs it: kill 77", "if nobody needs it: kill 78"]


def test_other_builds_of_torch_are_named() -> None:
    """Numbers differ between them."""
    new, old = (
        report(gpus=[GPU], torch={"cuda": cuda, "cudnn": "9", "cuda_available": True})
        for cuda in ("13.0", "12.8")
    )

    (only,) = say({"a": new, "b": old})

    assert only[:2] == ("mend", "torch")
    assert "CUDA 12.8, cuDNN 9; CUDA 13.0, cuDNN 9" in only[2]


def test_the_worst_decides() -> None:
    """Stop before mend before ok."""
    lines = [Finding(level=level, subject="x", text="") for level in ("ok", "stop", "mend")]

    assert worst(lines) == "stop"
    assert worst([lines[0], lines[2]]) == "mend"
