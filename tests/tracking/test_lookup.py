"""From what a user types to a run."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import RecordError
from orchestrator.tracking.lookup import FoundRun, find_run
from orchestrator.tracking.mlflow_ids import IDS_FILE
from orchestrator.tracking.record import RunRecord, SearchRecord

MakeSearch = Callable[..., Any]
Find = Callable[[str], FoundRun]

IDS = ["aaaa1111", "aaaa2222", "bbbb3333"]
"""MLflow's ids of the first three runs of `demo#1`."""


def choose_second(search: SearchRecord) -> RunRecord | None:
    """The second run is the best one, of any search that is not the second."""
    return search.runs[1] if search.number != 2 else None


@pytest.fixture
def find(make_search: MakeSearch) -> Find:
    """Looks among `demo#1`, which MLflow knows, and `demo#2`, which it does not."""
    first, second = make_search(number=1), make_search(number=2)
    for search in (first, second):
        search.begin()
    values = {"runs": dict(zip(first.run_ids, IDS, strict=False))}
    (first.folder / IDS_FILE).write_text(json.dumps(values))
    return lambda text: find_run(first.folder.parents[1], text, choose_best=choose_second)


@pytest.mark.parametrize("text", ["bbbb3333", "bbbb"])
def test_an_id_or_its_unique_beginning_means_a_run(find: Find, text: str) -> None:
    """With its record, its search and the whole id."""
    found = find(text)

    assert found.run.run_id == "demo/1/label_smoothing=0.1,seed=0"
    assert (found.search.label, found.mlflow_id) == ("demo#1", "bbbb3333")


@pytest.mark.parametrize(
    "text",
    [
        "demo#1/label_smoothing=0.1,seed=0",
        "demo#1/seed=0,label_smoothing=0.1",
        "demo#1/loss.label_smoothing=0.1,seed=0",
        "demo/1/label_smoothing=0.1,seed=0",
    ],
)
def test_a_setting_and_a_seed_mean_a_run(find: Find, text: str) -> None:
    """In any order, keys in full or by their last part; a run id does as well."""
    assert find(text).mlflow_id == "bbbb3333"


def test_a_name_without_a_number_means_its_latest_search(find: Find) -> None:
    """MLflow does not know its runs yet."""
    found = find("demo/label_smoothing=0.1,seed=1")

    assert found.run.run_id == "demo/2/label_smoothing=0.1,seed=1"
    assert found.mlflow_id == ""


def test_a_run_whose_name_was_cut_is_found_by_its_setting(make_search: MakeSearch) -> None:
    """Two values that agree to six digits have folders named by a digest."""
    search = make_search(loss={"label_smoothing": {"grid": [0.1, 0.1000000001]}})
    search.begin()
    folder = search.folder.parents[1]

    with pytest.raises(RecordError, match="2 runs are meant"):
        find_run(folder, "demo/label_smoothing=0.1,seed=0", choose_best=choose_second)
    name = search.run_ids[2].rpartition("/")[2]
    found = find_run(folder, f"demo/{name}", choose_best=choose_second)
    assert found.run.run_id == search.run_ids[2]


def test_the_best_run_is_whoever_compares_says(find: Find) -> None:
    """Of the search that is named."""
    assert find("demo#1@best").mlflow_id == "aaaa2222"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("demo@best", "demo@best: no setting of demo#2 has finished on all its seeds"),
        (
            "demo/seed=0",
            "demo/seed=0: 2 runs are meant; there are label_smoothing=0,seed=0, "
            "label_smoothing=0.1,seed=0",
        ),
        (
            "demo#1/seed=7",
            "demo#1/seed=7: no such run; there are label_smoothing=0,seed=0, "
            "label_smoothing=0,seed=1, label_smoothing=0.1,seed=0, label_smoothing=0.1,seed=1",
        ),
        (
            "aaaa",
            "'aaaa': it begins the ids of 2 runs; a run is an MLflow id or its unique "
            "beginning, NAME@best, or NAME/label_smoothing=0.1,seed=2",
        ),
        (
            "cccc",
            "'cccc': no run has that id; a run is an MLflow id or its unique beginning, "
            "NAME@best, or NAME/label_smoothing=0.1,seed=2",
        ),
        (
            "bbb",
            "'bbb': an id's beginning has 4 letters at least; a run is an MLflow id or its "
            "unique beginning, NAME@best, or NAME/label_smoothing=0.1,seed=2",
        ),
        ("demo#3/seed=0", "demo has no search '3'; its numbers are 1, 2"),
    ],
)
def test_what_is_no_run_or_several_is_answered(find: Find, text: str, message: str) -> None:
    """With the runs that there are, or with the ways to name one."""
    with pytest.raises(RecordError) as caught:
        find(text)

    assert str(caught.value) == message


def test_many_runs_are_named_in_part(make_search: MakeSearch) -> None:
    """Four of ten, and a sign that there are more."""
    search = make_search(search={"seeds": 5})
    search.begin()

    with pytest.raises(RecordError) as caught:
        find_run(search.folder.parents[1], "demo/label_smoothing=0", choose_best=choose_second)

    assert str(caught.value) == (
        "demo/label_smoothing=0: 5 runs are meant; there are label_smoothing=0,seed=0, "
        "label_smoothing=0,seed=1, label_smoothing=0,seed=2, label_smoothing=0,seed=3, …"
    )
