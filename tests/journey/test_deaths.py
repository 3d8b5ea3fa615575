"""SIGKILL of every kind of process of a search: the numbers are those of an undisturbed one."""

import random
import time
from pathlib import Path

import pytest

from tests.journey.conftest import (
    Orchestrate,
    Start,
    processes_of,
    wait_for,
    wait_for_text,
    wait_on,
)
from tests.journey.deaths import KINDS, SPEC, Outcome, kill, read_outcome

_CHAOS_ROUNDS = 24
_RESUMED = '"note": "resumed"'


def _draw(seed: int) -> tuple[str, float]:
    """Which kind of process to kill, each as often, and when: seconds after the start."""
    return list(KINDS)[seed % len(KINDS)], random.Random(seed).uniform(1, 20)


def _word(seed: int) -> str:
    kind, moment = _draw(seed)
    return f"seed={seed},{kind},{moment:.2f}s"


@pytest.fixture(scope="session")
def undisturbed() -> dict[str, Outcome]:
    """Outcomes of undisturbed searches, by what they were asked beside their file."""
    return {}


@pytest.fixture
def expected(
    undisturbed: dict[str, Outcome],
    orchestrate: Orchestrate,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Outcome:
    """What the search comes to where nothing is killed; trained once."""
    change = getattr(request, "param", "resources.num_workers=1")
    if change not in undisturbed:
        (tmp_path / "spec.yaml").write_text(SPEC)
        storage = tmp_path / "undisturbed"
        done = orchestrate("run", "spec.yaml", change, ORCHESTRATOR_STORAGE=str(storage))
        assert done.status == 0, done.err
        found = read_outcome(orchestrate, storage, ORCHESTRATOR_STORAGE=str(storage))
        assert set(found.mlflow.values()) >= {("FINISHED", 0)}
        undisturbed[change] = found
    return undisturbed[change]


@pytest.mark.parametrize("kinds", [("worker", "controller"), ("broker", "driver")])
def test_killed_processes_change_no_number(
    start: Start,
    orchestrate: Orchestrate,
    expected: Outcome,
    tmp_path: Path,
    storage: Path,
    kinds: tuple[str, ...],
) -> None:
    """One in the tenth epoch of a run, the other in the tenth after that went on.

    Weights, table and MLflow's records are those of an undisturbed search: runs go on from the
    middle of an epoch. A killed driver's lanes end by themselves, and the same command goes on
    under the same number.
    """
    (tmp_path / "spec.yaml").write_text(SPEC)

    err = _kill_in_turn(kinds, start, orchestrate, storage)

    assert "Traceback" not in err
    assert read_outcome(orchestrate, storage) == expected


@pytest.mark.slow
@pytest.mark.parametrize("expected", ["training.epochs=150"], indirect=True)
def test_one_death_after_another_changes_no_number(
    start: Start, orchestrate: Orchestrate, expected: Outcome, tmp_path: Path, storage: Path
) -> None:
    """Each kind of process in turn, ten epochs after a run went on from the death before it."""
    (tmp_path / "spec.yaml").write_text(SPEC)

    err = _kill_in_turn(tuple(KINDS), start, orchestrate, storage, "training.epochs=150")

    assert "Traceback" not in err
    assert read_outcome(orchestrate, storage) == expected


def _kill_in_turn(
    kinds: tuple[str, ...],
    start: Start,
    orchestrate: Orchestrate,
    storage: Path,
    *changes: str,
) -> str:
    """Run a search to its end through these deaths; what its commands said of errors."""
    process = start("run", "spec.yaml", *changes)
    journal = storage / "small" / "1" / "journal.jsonl"
    wait_for_text(journal, '"epoch": 10')
    for kind in kinds:
        assert process.poll() is None
        resumed = journal.read_text().count(_RESUMED)
        assert kill(kind, process), kind
        if kind != "driver":
            wait_on(process, lambda: _goes_on(journal.read_text(), resumed))  # noqa: B023  at once
    out, err = process.communicate(timeout=250)
    if kinds[-1] != "driver":
        assert process.returncode == 0, err + out
        return err
    wait_for(lambda: not any("RayTrainWorker" in name for name in processes_of(str(storage))))
    again = orchestrate("run", "spec.yaml", *changes)
    assert again.status == 0, again.err + err
    assert "goes on where it was interrupted" in " ".join(again.out.split())
    return err + again.err


def _goes_on(journal: str, resumed: int) -> bool:
    """Whether more runs than so many have gone on, the last of them ten epochs ago."""
    _, *rest = journal.split(_RESUMED)
    return len(rest) > resumed and rest[-1].count('"kind": "epoch"') >= 10


@pytest.mark.slow
@pytest.mark.parametrize("expected", ["resources.num_workers=2"], indirect=True)
def test_two_workers_of_one_run_go_on_together(
    start: Start, orchestrate: Orchestrate, expected: Outcome, tmp_path: Path, storage: Path
) -> None:
    """SIGKILL of one of them: both begin again where both were, with the same bits."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    process = start("run", "spec.yaml", "resources.num_workers=2")
    journal = storage / "small" / "1" / "journal.jsonl"
    wait_for_text(journal, '"epoch": 10')

    assert kill("worker", process)
    out, err = process.communicate(timeout=250)

    assert process.returncode == 0, err + out
    assert _RESUMED in journal.read_text()
    assert read_outcome(orchestrate, storage) == expected


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(_CHAOS_ROUNDS), ids=_word)
def test_any_process_may_die_at_any_moment(
    start: Start,
    orchestrate: Orchestrate,
    expected: Outcome,
    tmp_path: Path,
    storage: Path,
    seed: int,
) -> None:
    """Drawn from a seed that is printed; a search that ends of it is begun again."""
    kind, moment = _draw(seed)
    (tmp_path / "spec.yaml").write_text(SPEC)
    process = start("run", "spec.yaml")
    time.sleep(moment)

    while process.poll() is None and not kill(kind, process):
        time.sleep(0.2)
    process.communicate(timeout=250)

    if process.returncode != 0:
        again = orchestrate("run", "spec.yaml")
        assert again.status == 0, again.err + again.out
    assert read_outcome(orchestrate, storage) == expected
