"""This machine as `orchestrator doctor` sees it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.doctor import command
from orchestrator.doctor.examination import examine

SMI = """#!/bin/sh
case "$1" in
--query-gpu*) echo "0, NVIDIA A100, GPU-0, 81920, 510";;
*) echo "{pid}, GPU-0, 500";;
esac
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no cluster."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "ORCHESTRATOR_STORAGE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_machine_that_can_train_is_told_so(here: Path) -> None:
    """Exit status 0, and nothing is made for the look."""
    said = CliRunner().invoke(command, [], standalone_mode=False)

    assert said.return_value == 0, said.output
    words = " ".join(said.output.split())
    assert f"ok storage {here}/runs: can be written" in words
    assert list(here.iterdir()) == []


def test_what_would_stop_a_run_is_told(here: Path) -> None:
    """A storage that cannot be written: exit status 3, in the JSON too."""
    (here / "file").write_text("")

    said = CliRunner().invoke(
        command, ["--storage", "/proc/1/runs", "--json"], standalone_mode=False
    )

    assert said.return_value == 3
    told = json.loads(said.output)
    assert told["stops"] is True
    wrong = [one for one in told["findings"] if one["level"] == "stop"]
    assert [one["subject"] for one in wrong] == ["storage"]
    assert wrong[0]["mend"]


def test_the_data_of_an_experiment_is_looked_at(here: Path) -> None:
    """A folder without images would stop every run."""
    (here / "spec.yaml").write_text(
        "name: photos\ndata: {dataset: image_folder, root: photos}\n"
        "model: {architecture: small_cnn}\ntraining: {epochs: 1}\n"
    )

    said = CliRunner().invoke(command, ["spec.yaml"], standalone_mode=False)

    assert said.return_value == 3
    assert "stop  data        this machine: " in said.output
    assert "1 would stop a run, 0 would not but should be mended" in said.output


def test_who_holds_a_gpus_memory_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nvidia-smi lists it, with the process's own command."""
    program = here / "nvidia-smi"
    program.write_text(SMI.format(pid=os.getpid()))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")

    found = examine(str(here), str(here / "mark"))

    assert found["gpus"][0]["name"] == "NVIDIA A100"
    (process,) = found["processes"]
    assert (process["pid"], process["used_memory"]) == (str(os.getpid()), "500")
    assert "python" in process["command"]
    assert not process["is_rays"]
    assert not found["storage"]["sees_mark"]


def test_an_object_store_is_looked_at(here: Path, bucket: str) -> None:
    """One that can be written is fine, a wrong bucket would stop a run; neither has a size."""
    good, wrong = (
        CliRunner().invoke(command, ["--storage", f"{name}/lab"], standalone_mode=False)
        for name in (bucket, f"{bucket}-none")
    )

    assert good.return_value == 0, good.output
    assert f"ok storage {bucket}/lab: can be written ok" in " ".join(good.output.split())
    assert wrong.return_value == 3
    assert "this machine: cannot look into" in " ".join(wrong.output.split())
    assert list(here.iterdir()) == []
