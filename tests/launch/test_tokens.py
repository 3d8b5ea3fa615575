"""What a node declares of its GPUs, by a pretend nvidia-smi."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LISTING = """#!/bin/sh
cat <<'END'
GPU 0: NVIDIA A10G (UUID: GPU-1f2e3d4c-0000-4a4b-8c8d-aaaaaaaaaaaa)
GPU 1: NVIDIA A10G (UUID: GPU-1f2e3d4c-1111-4a4b-8c8d-bbbbbbbbbbbb)
  MIG 1g.5gb      Device  0: (UUID: MIG-0c0c0c0c-2222-4a4b-8c8d-cccccccccccc)
GPU 2: NVIDIA A10G (UUID: GPU-99999999-3333-4a4b-8c8d-dddddddddddd)
END
"""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with three GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text(LISTING)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def say(*arguments: str) -> str:
    """What the program prints, as `ray start` would get it."""
    command = [sys.executable, "-m", "orchestrator.launch.tokens", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("node")
def test_every_gpu_has_a_token_and_its_uuid() -> None:
    """One resource and one label for each GPU; parts of a GPU have none of their own."""
    assert json.loads(say()) == {"gpu_0": 1, "gpu_1": 1, "gpu_2": 1}
    assert say("--labels") == (
        "gpu_0=GPU-1f2e3d4c-0000-4a4b-8c8d-aaaaaaaaaaaa,"
        "gpu_1=GPU-1f2e3d4c-1111-4a4b-8c8d-bbbbbbbbbbbb,"
        "gpu_2=GPU-99999999-3333-4a4b-8c8d-dddddddddddd"
    )


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("visible", "tokens"),
    [
        ("2,0", {"gpu_2": 1, "gpu_0": 1}),
        ("GPU-99999999,1", {"gpu_2": 1, "gpu_1": 1}),
        ("0,7,1", {"gpu_0": 1}),
        ("GPU-1f2e3d4c", {}),
        ("-1", {}),
        ("", {}),
    ],
)
def test_hidden_gpus_have_no_token(
    visible: str, tokens: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CUDA reads it: what follows an entry that names no GPU, or several, is hidden."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert json.loads(say()) == tokens


def test_a_node_without_gpus_declares_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no nvidia-smi, `ray start` gets empty resources and empty labels."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert say() == "{}"
    assert say("--labels") == ""


def test_nothing_heavy_is_loaded() -> None:
    """A node's Ray waits for this program: it loads none of ray, torch, mlflow and pydantic."""
    code = (
        "import sys, orchestrator.launch.tokens;"
        "print({'ray', 'torch', 'mlflow', 'pydantic'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "set()"
