"""Finished runs are found by what decides their numbers, and only while they are there."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking.finished import INDEX, FinishedRuns

MakeSearch = Callable[..., Any]


@pytest.fixture
def trained(make_search: MakeSearch) -> Any:
    """A search whose first run has finished, and left its weights."""
    search = make_search()
    search.begin()
    search.train(0, 0.5, 0.75)
    search.keep_weights(0)
    search.close()
    return search


def test_a_finished_run_is_found_by_its_fingerprint(trained: Any, tmp_path: Path) -> None:
    """With its metrics, its history and its folder; one that has not finished is not."""
    first, second = trained.plan.runs[:2]
    runs = FinishedRuns(tmp_path)
    runs.add(first.run_id, first.to_json())

    found = runs.find(first.fingerprint)

    assert found is not None
    assert (found.run_id, found.folder) == (first.run_id, Path(first.place.folder))
    assert found.ending["weights_sha256"] == "0123abcd"
    assert [metrics["val/accuracy"] for metrics in found.history] == [0.5, 0.75]
    assert runs.find(second.fingerprint) is None
    assert runs.find("") is None


def test_the_index_is_made_from_the_journals_where_it_is_missing(
    trained: Any, tmp_path: Path
) -> None:
    """It holds nothing that is not elsewhere: it can be deleted."""
    run = trained.plan.runs[0]

    assert FinishedRuns(tmp_path).find(run.fingerprint) is not None

    assert (tmp_path / INDEX).is_dir()


def test_an_index_that_was_not_made_to_its_end_is_made_again(
    trained: Any, make_search: MakeSearch, tmp_path: Path
) -> None:
    """Whoever was killed, or added a run, before all journals were looked through."""
    other = make_search(number=2, optimizer={"lr": 0.5})
    FinishedRuns(tmp_path).add(other.run_ids[0], other.plan.runs[0].to_json())

    assert FinishedRuns(tmp_path).find(trained.plan.runs[0].fingerprint) is not None


@pytest.mark.parametrize("gone", ["weights", "search"])
def test_a_run_whose_files_are_gone_is_not_found(
    trained: Any, tmp_path: Path, gone: str
) -> None:
    """Nobody is sent to a folder that somebody has deleted."""
    run = trained.plan.runs[0]
    FinishedRuns(tmp_path).add(run.run_id, run.to_json())

    if gone == "weights":
        (Path(run.place.folder) / "last.safetensors").unlink()
    else:
        shutil.rmtree(trained.folder)

    assert FinishedRuns(tmp_path).find(run.fingerprint) is None


def test_a_folder_of_another_run_is_not_taken_for_it(
    make_search: MakeSearch, trained: Any, tmp_path: Path
) -> None:
    """The journal counts: of a folder that another search has made anew, nothing is found."""
    run = trained.plan.runs[0]
    FinishedRuns(tmp_path).add(run.run_id, run.to_json())
    shutil.rmtree(trained.folder)
    other = make_search(optimizer={"lr": 0.5})
    other.begin()
    other.train(0, 0.9)
    other.keep_weights(0)

    assert FinishedRuns(tmp_path).find(run.fingerprint) is None


def test_shorter_runs_are_found_the_longest_first(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """Those that differ in the number of epochs alone, and have fewer."""
    runs = FinishedRuns(tmp_path)
    for number, epochs in enumerate((2, 4, 7), start=1):
        search = make_search(number=number, training={"epochs": epochs})
        search.begin()
        search.train(0, 0.5)
        search.keep_weights(0)
        runs.add(search.run_ids[0], search.plan.runs[0].to_json())
    lineage = search.plan.runs[0].lineage

    assert [count for count, _ in runs.find_shorter(lineage, 7)] == [4, 2]
    assert list(runs.find_shorter(lineage, 2)) == []
    assert list(runs.find_shorter("", 9)) == []


def test_another_run_of_the_same_numbers_is_found_where_the_newest_is_gone(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """A deleted search takes nothing with it that lies elsewhere too."""
    searches = [make_search(number=number) for number in (1, 2)]
    for search in searches:
        search.begin()
        search.train(0, 0.5)
        search.keep_weights(0)
        FinishedRuns(tmp_path).add(search.run_ids[0], search.plan.runs[0].to_json())
    fingerprint = searches[0].plan.runs[0].fingerprint
    found = FinishedRuns(tmp_path).find(fingerprint)
    assert found is not None
    assert found.run_id == searches[1].run_ids[0]

    shutil.rmtree(searches[1].folder)

    found = FinishedRuns(tmp_path).find(fingerprint)
    assert found is not None
    assert found.run_id == searches[0].run_ids[0]


def test_a_run_that_lost_a_worker_for_a_part_is_not_found(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """Its numbers are not those that its plan says."""
    search = make_search(resources={"num_workers": 2, "min_workers": 1})
    search.begin()
    for index, count in enumerate((1, 2)):
        search.keep_weights(index)
        search.join("lane 0", workers=[{"rank": rank} for rank in range(count)])
        search.train(index, 0.5)
    search.close()
    runs = FinishedRuns(tmp_path)

    short, whole = (run.fingerprint for run in search.plan.runs[:2])

    assert runs.find(short) is None
    assert runs.find(whole) is not None
