"""Pins that hold: on a Ray of our own, and between searches on a Ray that runs on.

GPUs are declared, and what is planned for them is computed on CPUs.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journey.conftest import (
    Orchestrate,
    Start,
    answer_of,
    digests,
    interrupt,
    running,
    wait_for,
    wait_for_text,
)
from tests.journey.nodes import ask, list_nodes, three_nodes, write_paced

SPEC = """\
name: pins
data: {dataset: digits, train_size: 200}
model: {architecture: small_cnn}
loss: {label_smoothing: {grid: [0, 0.4]}}
training: {epochs: 3}
search: {seeds: 1}
"""
SMI = """#!/bin/sh
for i in 0 1 2 3; do echo "GPU $i: NVIDIA A100 (UUID: GPU-uuid$i)"; done
"""
RAY = """
import sys, ray
ray.init(
    num_cpus=4, num_gpus=4, resources={f"gpu_{i}": 1 for i in range(4)},
    labels={"gpu_3": "GPU-uuid3"}, include_dashboard=False, log_to_driver=False,
    _temp_dir=sys.argv[1],
)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Of a user who rehearses."""
    (tmp_path / "pins.yaml").write_text(SPEC)
    return {**environment, "ORCHESTRATOR_DEVICE": "cpu"}


@pytest.fixture
def declared_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray that runs on, whose node declares four GPUs one by one."""
    folder = tmp_path_factory.getbasetemp() / "d"
    with running(RAY, str(folder), CUDA_VISIBLE_DEVICES="0,1,2,3") as process:
        yield answer_of(process)


def seen(storage: Path, search: str) -> dict[str, list[str]]:
    """Lane to what each of its ranks saw, as the journal of a search has it."""
    lines = (storage / search / "journal.jsonl").read_text().splitlines()
    lanes: dict[str, list[str]] = {}
    for entry in map(json.loads, lines):
        if entry["kind"] == "lane":
            workers: list[dict[str, Any]] = entry["facts"]["workers"]
            lanes[entry["lane"]] = [worker["cuda_visible_devices"] for worker in workers]
    return lanes


def test_a_ray_of_our_own_has_the_planned_gpus(
    orchestrate: Orchestrate, tmp_path: Path, storage: Path
) -> None:
    """Two workers of a run see the GPUs of their lane alone, in the order of the plan."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    pins = "resources={num_workers: 2, visible_devices: [[3, GPU-uuid1]]}"
    path = f"{program.parent}:{os.environ['PATH']}"

    done = orchestrate("run", "pins.yaml", pins, PATH=path, CUDA_VISIBLE_DEVICES="1,2,3")

    assert done.status == 0, done.err
    assert "2 workers with 1 thread on 1 GPU: GPUs 3, 1" in done.out
    assert seen(storage, "pins/1") == {"lane 0": ["3,1", "3,1"]}
    bounded = orchestrate(
        "run", "pins.yaml", "resources.visible_devices=[0]", PATH=path, CUDA_VISIBLE_DEVICES="1"
    )
    assert bounded.status == 3
    assert bounded.err == (
        "resources.visible_devices: GPU 0 is not there; this machine has 1 GPU: 1\n"
    )


def test_searches_of_a_running_ray_do_not_share_a_gpu(
    start: Start, orchestrate: Orchestrate, storage: Path, declared_ray: str
) -> None:
    """Two at a time on disjoint GPUs; a third is refused by name, then waits and is trained.

    Features are extracted on what is free, too.
    """
    joined = {"RAY_ADDRESS": declared_ray}
    first = start(
        "run", "pins.yaml", "name=first", "training.epochs=3000",
        "resources.visible_devices=[0, 2]", **joined,
    )  # fmt: skip
    wait_for_text(storage / "first" / "1" / "journal.jsonl", '"kind": "epoch"')

    second = orchestrate("run", "pins.yaml", "name=second", "training.epochs=4", **joined)
    assert second.status == 0, second.err
    layers = ["features", "pins.yaml", "--run", "second@best", "--layers", "head", "--out", "f"]
    crowded = orchestrate(*layers, "--workers", "3", **joined)
    assert (crowded.status, crowded.out) == (3, "")
    assert crowded.err.endswith("--workers: other searches hold GPUs; there is room for 2\n")
    extracted = orchestrate(*layers, "--workers", "2", **joined)
    assert extracted.status == 0, extracted.err
    third = ["run", "pins.yaml", "name=third", "resources.visible_devices=[GPU-uuid3, 2]"]
    refused = orchestrate(*third, **joined)
    assert refused.status == 3
    assert refused.err.startswith(
        f"GPU 2 of {os.uname().nodename} is held by first#1 (process "
    )
    assert "wait with --wait MINUTES" in refused.err
    assert not (storage / "third").exists()
    assert first.poll() is None
    waiting = start(*third, "--wait", "4", **joined)
    assert waiting.stdout is not None
    told = next(line for line in iter(waiting.stdout.readline, "") if "giving" in line)
    interrupt(first)
    _, err = waiting.communicate(timeout=100)

    assert waiting.returncode == 0, err
    assert "is held by first#1" in told
    assert "; giving up in " in told
    assert first.wait(100) == 130
    assert seen(storage, "first/1") == {"lane 0": ["0"], "lane 1": ["2"]}
    assert seen(storage, "second/1") == {"lane 0": ["1"], "lane 1": ["3"]}
    assert seen(storage, "third/1") == {"lane 0": ["3"], "lane 1": ["2"]}


@pytest.fixture
def machines() -> "Iterator[subprocess.Popen[str]]":
    """A head and two nodes of two GPUs each."""
    with three_nodes() as process:
        yield process


@pytest.mark.slow
def test_a_node_that_is_lost_costs_no_number(
    start: Start,
    orchestrate: Orchestrate,
    storage: Path,
    machines: "subprocess.Popen[str]",
) -> None:
    """Two workers of a run, a GPU of each node: they wait for another node and go on on that.

    The weights are those of an undisturbed run on a Ray of our own.
    """
    joined = {"RAY_ADDRESS": answer_of(machines), "RAY_AUTH_MODE": "disabled"}
    pins = "resources={num_workers: 2, visible_devices: {box=a: [1], box=b: [0]}}"
    free = "resources={num_workers: 2, placement: spread, gpus_per_worker: 1}"
    shown = orchestrate("plan", "pins.yaml", pins, **joined)
    assert shown.status == 0, shown.err
    assert shown.out.count("GPU 1 of ") == shown.out.count("GPU 0 of ") == 1
    options = ["training.epochs=150", "checkpoint.every_steps=7", "loss.label_smoothing=0.4"]
    process = start("run", "pins.yaml", *options, free, **joined)
    journal = storage / "pins" / "1" / "journal.jsonl"
    wait_for_text(journal, '"epoch": 20')

    assert ask(machines, "kill a") == "kill a"
    wait_for(lambda: len(list_nodes(joined)) == 2)
    assert ask(machines, "add c") == "add c"
    out, err = process.communicate(timeout=250)

    assert process.returncode == 0, err + out
    assert " is gone; starting its lanes again" in out
    assert '"note": "resumed"' in journal.read_text()
    undisturbed = orchestrate(
        "run", "pins.yaml", *options, "name=quiet", "resources={num_workers: 2}", "--fresh"
    )
    assert undisturbed.status == 0, undisturbed.err
    quiet = (storage / "quiet" / "1" / "journal.jsonl").read_text()
    assert list(digests(journal.read_text()).values()) == list(digests(quiet).values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fewer_machines_train_fewer_runs_until_others_come(
    start: Start, tmp_path: Path, storage: Path, machines: "subprocess.Popen[str]"
) -> None:
    """Lanes on CPUs, which Ray places: one of two nodes is lost, the other trains one by one.

    A new node is noticed, and has the second run.
    """
    joined = {"RAY_ADDRESS": answer_of(machines), "RAY_AUTH_MODE": "disabled"}
    on_cpus = "resources={num_workers: 2, gpus_per_worker: 0}"
    smoothing = "loss: {label_smoothing: {grid: [0, 0.4]}}"
    spec = SPEC.replace(smoothing, "loss: {name: 'pace:paced_loss'}")
    paced = write_paced(tmp_path, spec.replace("seeds: 1", "seeds: 2"))
    process = start("run", paced, "training.epochs=250", on_cpus, **joined)
    journal = storage / "pins" / "1" / "journal.jsonl"
    wait_for(lambda: journal.exists() and journal.read_text().count('"epoch": 20,') == 2)

    assert ask(machines, "kill a") == "kill a"
    wait_for(lambda: journal.read_text().count('"kind": "lane"') == 3)
    assert ask(machines, "add c") == "add c"
    out, err = process.communicate(timeout=250)

    assert process.returncode == 0, err + out
    assert " is gone; starting its lanes again" in out
    assert "there is room for 2 runs at a time; starting its lanes again" in out
    assert out.count("val/accuracy 0.") == 2
    # Lanes that came up, and where a machine had gone or come.
    parts: list[set[str]] = [set()]
    for entry in map(json.loads, journal.read_text().splitlines()):
        if entry["kind"] == "lane":
            parts[-1].add(entry["lane"])
        elif entry["kind"] == "lost":
            parts.append(set())
    assert parts == [{"lane 0", "lane 1"}, {"lane 0"}, {"lane 0", "lane 1"}]


HOLD = """
import sys, ray
from ray.util.placement_group import placement_group
ray.init(address=sys.argv[1], log_to_driver=False)
group = placement_group([{"CPU": 2}])
ray.get(group.ready())
print("held", flush=True)
sys.stdin.read()
"""


def test_who_waits_for_others_says_so(start: Start, running_ray: str) -> None:
    """On a Ray whose CPUs are all taken a search says what is free, and begins when it may."""
    # A Ray that is started on one machine asks for the token that it has made there.
    with running(HOLD, running_ray, RAY_AUTH_MODE="token") as holder:
        assert answer_of(holder) == "held"
        process = start("run", "pins.yaml", "training.epochs=1", RAY_ADDRESS=running_ray)
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        waiting = next(line for line in lines if "waiting" in line)

    out, err = process.communicate(timeout=100)
    assert waiting == "waiting for room: 0 of 2 CPUs are free, and 2 runs at a time need 2\n"
    assert process.returncode == 0, err + out
