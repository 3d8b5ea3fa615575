"""Which searches are gone on with, what plans say of others, and what those do meanwhile."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InfeasibleError, RecordError
from orchestrator.execution import Execution, RunOptions, find_working_copy, resume
from orchestrator.inputs import Surroundings
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.numbers import Limits
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.reopening import move_run, plan_again, reopen_folder, reopen_search
from orchestrator.reuse import decide_search
from orchestrator.sources import digest_package
from orchestrator.specs.load import load_spec
from orchestrator.tracking import journal, storage
from orchestrator.tracking.owner import describe_owner, own
from orchestrator.tracking.record import SearchRecord
from orchestrator.watch import Watch
from tests.plans import DIGITS

HERE = Cluster(nodes=(Node(name="here", cpus=2, gpus=0),))
Decide = Callable[..., SearchPlan]


@pytest.fixture
def decide(tmp_path: Path) -> Decide:
    """Decides a search of two values in a storage, `tmp_path` by default."""

    def make(*, storage: Path = tmp_path, **sections: Any) -> SearchPlan:
        values: dict[str, Any] = {
            "name": "demo",
            "data": {"dataset": "digits"},
            "model": {"architecture": "small_cnn"},
            "training": {"epochs": 3},
            "loss": {"label_smoothing": {"grid": [0, 0.1]}},
        }
        spec = load_spec(values | sections)
        return decide_search(spec, HERE, storage=storage, inputs=DIGITS, limits=Limits())

    return make


def record(plan: SearchPlan, *, finished: int, **facts: str) -> None:
    """What a driver leaves of a search of which so many runs have finished."""
    book = journal.Journal(plan.folder)
    book.append(journal.SEARCH, plan=plan.to_json(), owner=describe_owner(), facts=facts)
    book.append(journal.LANE, lane="lane 0", facts={})
    for run in plan.runs[:finished]:
        folder = Path(run.place.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "last.safetensors").write_bytes(b"weights")
        book.append(journal.START, run=run.run_id, lane="lane 0", attempt=1)
        values = {"metrics": {"val/accuracy": 0.5}, "weights_sha256": "ab", "error": ""}
        book.append(journal.END, run=run.run_id, status="finished", duration_s=1.0, **values)
    left = [run.run_id for run in plan.runs[finished:]]
    journal.end_unfinished(book, left, error="stopped")
    book.append(journal.CLOSE, status="stopped" if left else "finished")
    book.close()


def test_an_interrupted_search_goes_on_under_its_number(decide: Decide) -> None:
    """Its finished runs are done, the others are to be trained."""
    record(decide(), finished=1)

    plan = decide()

    assert (plan.number, plan.continues) == (1, True)
    assert list(plan.done) == ["demo/1/label_smoothing=0,seed=0"]
    assert [run.run_id for run in plan.missing] == ["demo/1/label_smoothing=0.1,seed=0"]
    assert plan.lanes.lanes == 1


def test_one_more_value_is_another_search_that_links_the_rest(decide: Decide) -> None:
    """The next number; of the interrupted one it says how to go on with it."""
    record(decide(), finished=1)

    plan = decide(loss={"label_smoothing": {"grid": [0, 0.1, 0.2]}})

    assert (plan.number, plan.continues) == (2, False)
    assert plan.done == {"demo/2/label_smoothing=0,seed=0": "demo/1/label_smoothing=0,seed=0"}
    assert "demo#1 was interrupted: `orchestrator resume demo#1` goes on with it" in plan.notes


def test_an_earlier_search_that_is_whole_answers(decide: Decide) -> None:
    """Also where another question of that name was asked since."""
    record(decide(), finished=2)
    record(decide(training={"epochs": 4}), finished=2)

    assert decide().number == 1
    assert not decide().missing


def test_a_search_that_somebody_drives_is_left_alone(decide: Decide) -> None:
    """The same spec is trained under the next number, and the plan says what that means."""
    plan = decide()
    record(plan, finished=1)

    with own(plan.folder) as is_ours:
        assert is_ours
        other = decide()

    assert other.number == 2
    assert any("asks the same and is trained at this moment" in note for note in other.notes)


def test_a_moved_storage_goes_on_with_its_own_store(decide: Decide, tmp_path: Path) -> None:
    """By the spec and by name; MLflow's store is the one that was moved too."""
    record(decide(storage=tmp_path / "old"), finished=1)
    (tmp_path / "old").rename(tmp_path / "new")

    plan = decide(storage=tmp_path / "new")
    reopened = reopen_search("demo", HERE, storage=tmp_path / "new")

    store = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    for found in (plan, reopened):
        assert (found.number, found.continues, found.store_uri) == (1, True, store)
        assert len(found.missing) == 1


def test_what_lay_in_a_moved_storage_is_found_there(decide: Decide, tmp_path: Path) -> None:
    """Weights of another run, and the run that one goes on from; what lies outside stays."""
    old, new = tmp_path / "old", tmp_path / "new"
    plan = decide(storage=old)
    paths = {"weights": str(old / "other" / "last.safetensors"), "extends": str(old / "short")}
    places = (paths, {"weights": str(tmp_path / "mine.safetensors"), "extends": str(old / "x")})
    runs = [
        replace(run, place=replace(run.place, **place))
        for run, place in zip(plan.runs, places, strict=True)
    ]
    for path in paths.values():
        Path(path).mkdir(parents=True)
    old.rename(new)

    first, second = (move_run(run, new / "demo" / "1").place for run in runs)

    assert first.weights == str(new / "other" / "last.safetensors")
    assert first.extends == str(new / "short")
    assert (second.weights, second.extends) == (places[1]["weights"], places[1]["extends"])


def test_what_has_changed_since_is_named(decide: Decide, tmp_path: Path) -> None:
    """The version of timm for its networks, which others do not depend on; else the rule."""
    plan = decide(model={"architecture": "timm/resnet18"})
    facts = {"timm": "0.0.1"}
    old = replace(plan, runs=tuple(replace(run, fingerprint="0") for run in plan.runs))
    record(replace(old, environment={**plan.environment, **facts}), finished=0)
    with pytest.raises(
        RecordError, match=r"other numbers \(timm was 0\.0\.1, is (none|[\d.]+)\);"
    ):
        reopen_search("demo", HERE, storage=tmp_path)

    record(replace(old, environment=plan.environment), finished=0)
    with pytest.raises(RecordError, match=r"\(fingerprints are made in another way now\);"):
        reopen_search("demo", HERE, storage=tmp_path)


def test_an_installed_package_that_has_changed_is_named(
    decide: Decide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left would be trained by other code than what is done."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "edited_of_mine.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(library)
    plan = decide()
    installed = {"edited_of_mine": digest_package("edited_of_mine")}
    runs = [
        replace(run, numbers=replace(run.numbers, installed=installed)) for run in plan.runs
    ]
    record(replace(plan, runs=tuple(runs)), finished=1)
    (library / "edited_of_mine.py").write_text("VALUE = 2\n")

    with pytest.raises(
        RecordError, match=r"other numbers \(the installed package edited_of_mine has changed"
    ):
        reopen_search("demo", HERE, storage=tmp_path)


def test_own_code_that_is_gone_is_named(decide: Decide, tmp_path: Path) -> None:
    """Nothing could be imported any more."""
    plan = decide()
    places = [replace(run.place, sources="source") for run in plan.runs]
    runs = [replace(run, place=p) for run, p in zip(plan.runs, places, strict=True)]
    record(replace(plan, runs=tuple(runs)), finished=1)

    with pytest.raises(RecordError, match=r"own code, .*/demo/1/source, is gone; put it back"):
        reopen_search("demo", HERE, storage=tmp_path)


def test_resume_trains_no_more_at_a_time_than_was_asked(decide: Decide, tmp_path: Path) -> None:
    """Two CPUs and two runs left make one lane where the spec allows no more."""
    record(decide(search={"max_concurrent": 1}), finished=0)

    assert reopen_search("demo", HERE, storage=tmp_path).lanes.lanes == 1


def test_a_linked_run_that_was_deleted_is_trained_again(decide: Decide) -> None:
    """A link that leads nowhere is no result."""
    first = decide()
    record(first, finished=2)
    wider = decide(loss={"label_smoothing": {"grid": [0, 0.1, 0.2]}})
    record(replace(wider, runs=wider.runs[:0]), finished=0)
    for run in first.runs:
        shutil.rmtree(run.place.folder)

    plan = decide(loss={"label_smoothing": {"grid": [0, 0.1, 0.2]}})

    assert len(plan.missing) == 3


def test_settings_that_cannot_differ_are_named(decide: Decide) -> None:
    """A search over what changes no number would compare a run with itself."""
    plan = decide(loss={"label_smoothing": 0.1}, checkpoint={"keep_last": {"grid": [1, 2]}})

    assert "keep_last=2 trains the same numbers as keep_last=1" in plan.notes


def test_a_rerun_has_a_name_of_its_own(decide: Decide, tmp_path: Path) -> None:
    """The experiment's name goes on to mean its own searches."""
    plan = decide()
    record(plan, finished=2)

    again = plan_again(plan.runs[1], plan.folder, HERE, storage=tmp_path)

    assert (again.name, again.number) == ("demo.rerun", 1)
    assert again.runs[0].run_id == "demo.rerun/1/label_smoothing=0.1,seed=0"
    assert again.runs[0].fingerprint == plan.runs[1].fingerprint


class Seen(Watch):
    """Keeps the plans that are shown."""

    def __init__(self) -> None:
        self.plans: list[SearchPlan] = []

    def planned(self, plan: SearchPlan, network: Any) -> None:  # noqa: ARG002
        """Keep one."""
        self.plans.append(plan)


class Overtaken(Execution):
    """A `run` that others overtake between its decision and its lock."""

    others: Callable[[], None]

    def _preview(self, plan: SearchPlan) -> list[tuple[str, str]]:  # noqa: ARG002
        self.others()
        return []


def overtake(plan: SearchPlan, watch: Watch, others: Callable[[], None]) -> SearchRecord:
    """Run the spec of a plan, while others do something."""
    training = Overtaken(
        load_spec(plan.folder.parents[1] / "spec.yaml"),
        plan.folder.parents[1],
        around=Surroundings(inputs=DIGITS),
        options=RunOptions(),
        watch=watch,
    )
    training.others = others
    return training.execute(keep=False)


@pytest.fixture
def asked(decide: Decide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchPlan:
    """A search whose spec is a file, on this machine."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plan = decide()
    (tmp_path / "spec.yaml").write_text(plan.spec_text)
    return plan


def test_a_search_that_another_has_finished_meanwhile_is_answered(asked: SearchPlan) -> None:
    """Nothing is trained twice, and the plan that is shown says so."""
    record(asked, finished=1)
    seen = Seen()

    found = overtake(asked, seen, lambda: record(asked, finished=2))

    assert (found.number, found.status) == (1, "finished")
    assert [plan.missing for plan in seen.plans] == [()]


def test_runs_that_another_search_has_finished_meanwhile_are_taken(
    asked: SearchPlan, decide: Decide
) -> None:
    """One began under the number that this one would have had; its runs are linked."""
    seen = Seen()

    found = overtake(asked, seen, lambda: record(asked, finished=2))

    assert (found.number, found.status) == (2, "finished")
    assert set(seen.plans[0].done.values()) == {run.run_id for run in asked.runs}
    assert all(Path(run.place.folder).is_symlink() for run in seen.plans[0].runs)
    assert not decide().missing


def test_a_search_that_became_another_meanwhile_is_left_alone(
    asked: SearchPlan, decide: Decide
) -> None:
    """It was deleted, and its number taken for another question."""
    record(asked, finished=1)

    def take_number() -> None:
        shutil.rmtree(asked.folder)
        record(decide(training={"epochs": 4}), finished=2)

    with pytest.raises(InfeasibleError, match=r"^demo#1 has become another search meanwhile"):
        overtake(asked, Seen(), take_number)


def test_a_number_that_was_begun_just_now_is_not_gone_on_with(
    decide: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for the next number before another took it takes one of his own."""
    record(decide(training={"epochs": 4}), finished=2)
    monkeypatch.setattr(storage, "next_number", lambda folder, name: 1)  # noqa: ARG005

    plan = decide()

    assert (plan.number, plan.continues, plan.done) == (1, False, {})


def test_resume_takes_what_another_has_finished_meanwhile(asked: SearchPlan) -> None:
    """As `run` does."""
    record(asked, finished=1)
    before, seen = reopen_search("demo", HERE, storage=asked.folder.parents[1]), Seen()
    record(asked, finished=2)

    found = resume(before, HERE, seen, again=lambda: reopen_folder(asked.folder, HERE))

    assert found.status == "finished"
    assert [plan.missing for plan in seen.plans] == [()]


def test_resume_names_the_working_copy_of_run(asked: SearchPlan, tmp_path: Path) -> None:
    """The storage may lie in another one, or in none; one that is gone names nothing."""
    record(asked, finished=1, **{"git.root": str(tmp_path)})
    assert find_working_copy(asked.folder) == tmp_path

    record(asked, finished=1, **{"git.root": str(tmp_path / "gone")})
    assert find_working_copy(asked.folder) == asked.folder
