"""What the machines offer, without starting anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.launch.cluster import keep_logs, look


def test_this_machine_is_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cluster the plan is made for the CPUs that this process may use."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    cluster = look()

    assert cluster.address == ""
    assert 1 <= cluster.cpus <= len(os.sched_getaffinity(0))


def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty CUDA_VISIBLE_DEVICES means no GPU, whatever is built in."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert look().gpus == 0


def test_visible_gpus_bound_the_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of three GPUs that the driver lists, those that are visible count; -1 hides all."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\nfor i in 0 1 2; do echo "GPU $i: A100 (UUID: x)"; done\n')
    program.chmod(0o755)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    everything = look().gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    two = look().gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    assert (everything, two, look().gpus) == (3, 2, 0)


def test_a_torch_for_cpus_uses_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The driver lists a GPU that the installed torch cannot reach: CPUs, and why."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU 0: A100 (UUID: x)"\n')
    program.chmod(0o755)
    found = tmp_path / "torch-2.13.0+cpu.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.syspath_prepend(tmp_path)

    cluster = look()

    assert cluster.gpus == 0
    assert cluster.lost_gpus == "its 1 GPU not used: torch is a CPU build"


def test_an_address_where_no_ray_answers_is_refused(tmp_path: Path) -> None:
    """RAY_ADDRESS that leads nowhere exits 3 with one line, before anything is made."""
    spec = tmp_path / "one.yaml"
    spec.write_text(
        "name: one\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
        "training: {epochs: 1}\n"
    )
    said = subprocess.run(
        [sys.executable, "-m", "orchestrator", "run", str(spec)],
        env={
            **os.environ,
            "RAY_ADDRESS": "127.0.0.1:1",
            "ORCHESTRATOR_STORAGE": str(tmp_path / "runs"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert said.returncode == 3
    assert "RAY_ADDRESS: no Ray answers at 127.0.0.1:1" in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "runs").exists()


def test_log_files_are_kept_and_the_rest_is_removed(tmp_path: Path) -> None:
    """Of a Ray that has ended only its logs stay, in the search's folder."""
    session = tmp_path / "ray" / "session_2026-01-01_00-00-00_0_1"
    (session / "logs").mkdir(parents=True)
    (session / "logs" / "worker.log").write_text("hello")
    (session / "sockets").mkdir()
    (tmp_path / "ray" / "session_latest").symlink_to(session)

    keep_logs(tmp_path / "ray", tmp_path / "logs")

    assert (tmp_path / "logs" / "worker.log").read_text() == "hello"
    assert not (tmp_path / "ray").exists()
