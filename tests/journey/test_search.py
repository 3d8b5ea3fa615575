"""A search from YAML to the answer, as a new user makes it."""

import csv
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tests.journey.conftest import (
    RAY,
    Orchestrate,
    answer_of,
    digests,
    mlflow_runs,
    processes_of,
    running,
)


def test_a_search_from_yaml_to_the_answer(
    orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """One command plans, trains, records and compares; everything is where the screen says."""
    ran = orchestrate("run", small_spec)

    assert ran.status == 0, ran.err
    assert ran.err == ""
    assert "runs       4, " in ran.out
    assert "[4/4] label_smoothing=" in ran.out
    folder = storage / "small" / "1"
    _the_records_are_whole(folder)
    _mlflow_has_the_answer(storage, ran.out)
    assert (folder / "response.png").stat().st_size > 10_000
    assert list((folder / "ray" / "logs").glob("*.log"))
    assert processes_of(str(storage)) == []

    # The same answer from records, and as data.
    compared = orchestrate("compare", "small")
    table = ran.out[ran.out.index("small#1: val/accuracy") : ran.out.index("picture ")].strip()
    assert compared.out.strip() == table
    rows = list(csv.DictReader(orchestrate("compare", "small#1", "--csv").out.splitlines()))
    assert [float(row["loss.label_smoothing"]) for row in rows] == [0, 0.4]
    assert json.loads(orchestrate("compare", "small", "--json").out)["search"] == "small#1"

    # A single run of it, here and without Ray, has the same weights to the last bit.
    again = orchestrate("run", small_spec, "--in-process", "--run", "4")
    assert again.status == 0, again.err
    lanes = digests((folder / "journal.jsonl").read_text())
    here = digests((storage / "small" / "2" / "journal.jsonl").read_text())
    assert (
        here["small/2/label_smoothing=0.4,seed=1"]
        == (lanes["small/1/label_smoothing=0.4,seed=1"])
    )


def _the_records_are_whole(folder: Path) -> None:
    for setting in ("0", "0.4"):
        for seed in (0, 1):
            run = folder / f"label_smoothing={setting},seed={seed}"
            lines = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
            assert [line["epoch"] for line in lines] == ["1", "2", "3"]
            with np.load(run / "predictions.npz") as stored:
                right = stored["logits"].argmax(1) == stored["labels"]
            assert float(lines[-1]["val/accuracy"]) == right.mean()


def _mlflow_has_the_answer(storage: Path, out: str) -> None:
    runs = mlflow_runs(storage)
    assert set(runs.values()) == {"FINISHED"}
    assert len(runs) == 5
    assert any(name.startswith("label_smoothing=0.4 seed=1 → 0.") for name in runs)
    with sqlite3.connect(storage / "mlflow.db") as connection:
        ((note,),) = connection.execute(
            "SELECT t.value FROM tags t JOIN runs r USING (run_uuid) "
            "WHERE r.name = 'small#1' AND t.key = 'mlflow.note.content'"
        )
    answer = note.split("**")[1]
    assert answer in " ".join(out.split())


def test_several_workers_train_one_run(
    orchestrate: Orchestrate, small_spec: str, storage: Path, running_ray: str
) -> None:
    """Two workers of a joined Ray train each run together, after one that has failed too."""
    ran = orchestrate(
        "run",
        small_spec,
        "loss.label_smoothing=0",
        "optimizer.lr={grid: [1e30, 0.1]}",
        "resources.num_workers=2",
        "search.seeds=1",
        "data.batch_size=50",
        RAY_ADDRESS=running_ray,
    )

    assert ran.status == 5, ran.err
    assert "each 2 workers with 1 thread on CPU" in ran.out
    assert "25 per worker" in ran.out
    assert f"Ray at {running_ray}" in ran.out
    assert "failed: small/1/lr=1e+30,seed=0: the loss turned to " in ran.out
    with np.load(storage / "small" / "1" / "lr=0.1,seed=0" / "predictions.npz") as stored:
        assert len(np.unique(stored["ids"])) == len(stored["ids"]) == 700
    plan = orchestrate("plan", small_spec, RAY_ADDRESS=running_ray)
    assert plan.status == 0, plan.err


def test_failed_runs_are_named_and_the_others_go_on(
    orchestrate: Orchestrate, small_spec: str, storage: Path, running_ray: str
) -> None:
    """A setting that turns to NaN fails by name of step; the rest is trained; exit status 5."""
    ran = orchestrate(
        "run",
        small_spec,
        "loss.label_smoothing=0",
        "optimizer.lr={grid: [0.1, 1e30]}",
        RAY_ADDRESS=running_ray,
    )

    assert ran.status == 5, ran.err
    assert "failed: small/1/lr=1e+30,seed=0: the loss turned to " in ran.out
    assert "in step 2 of epoch 1" in ran.out
    statuses = mlflow_runs(storage)
    assert sorted(statuses.values()) == ["FAILED", "FAILED", "FINISHED", "FINISHED", "FINISHED"]
    assert (storage / "small" / "1" / "lr=1e+30,seed=0" / "error.txt").exists()


def test_where_every_run_fails_the_first_cause_is_shown(
    orchestrate: Orchestrate, small_spec: str, storage: Path, running_ray: str
) -> None:
    """On lanes: exit status 4, the cause once on standard error, the traceback's file named."""
    ran = orchestrate(
        "run",
        small_spec,
        "loss.label_smoothing=0",
        "optimizer.lr=1e30",
        RAY_ADDRESS=running_ray,
    )

    assert ran.status == 4
    last = ran.err.strip().splitlines()[-1]
    assert last.startswith("every run failed; the first, small/1/seed=0: the loss turned to ")
    assert "Traceback" not in ran.err
    assert "the whole traceback is in " in ran.out
    assert "no run has finished" in orchestrate("compare", "small").out
    assert set(mlflow_runs(storage).values()) == {"FAILED"}


def test_a_ray_without_tokens_is_told_at_once(
    orchestrate: Orchestrate,
    small_spec: str,
    storage: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A command that asks for a token says so when it joins, and not its first dead actor."""
    folder = str(tmp_path_factory.getbasetemp() / "o")
    with running(RAY, folder, RAY_AUTH_MODE="disabled") as process:
        address = answer_of(process)
        tokens = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
        refused = orchestrate("run", small_spec, RAY_ADDRESS=address, **tokens)
        planned = orchestrate("plan", small_spec, RAY_ADDRESS=address, RAY_AUTH_MODE="disabled")

    assert refused.status == 3
    assert refused.err == (
        f"RAY_ADDRESS: the Ray at {address} asks for no token, and its workers could not speak "
        f"to this command, which asks for one; join it with RAY_AUTH_MODE=disabled\n"
    )
    assert not (storage / "small").exists()
    assert planned.status == 0, planned.err


def test_in_process_the_exception_comes_through(
    orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """A run that fails in this process exits 4 with its cause, and is recorded as failed."""
    ran = orchestrate(
        "run", small_spec, "--in-process", "loss.label_smoothing=0", "optimizer.lr=1e30"
    )

    assert ran.status == 4
    assert ran.err.startswith("the loss turned to ")
    assert set(mlflow_runs(storage).values()) == {"FAILED"}


@pytest.mark.slow
def test_a_lane_that_cannot_start_is_no_endless_wait(
    orchestrate: Orchestrate, small_spec: str, tmp_path: Path
) -> None:
    """A GPU that is listed but cannot be used fails the search with the cause."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: A100 (UUID: x)'\n")
    program.chmod(0o755)

    ran = orchestrate("run", small_spec, PATH=f"{program.parent}:{os.environ['PATH']}")

    assert ran.status == 4
    assert "lane 0 died 3 times before it could train: " in ran.err


def test_a_quick_try_records_nothing(
    orchestrate: Orchestrate, small_spec: str, storage: Path
) -> None:
    """`--fast-dev-run` trains and validates one batch of a run and leaves no trace."""
    ran = orchestrate("run", small_spec, "--in-process", "--fast-dev-run")

    assert ran.status == 0, ran.err
    assert "nothing was recorded" in ran.out
    assert not storage.exists()
    assert [path.name for path in storage.parent.iterdir()] == ["small.yaml"]
