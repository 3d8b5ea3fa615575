"""From journal entries to records."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RecordError
from orchestrator.tracking import journal
from orchestrator.tracking.attempts import count_interruptions
from orchestrator.tracking.history import SearchHistory, read_search
from orchestrator.tracking.metrics_file import append_metrics

MakeSearch = Callable[..., Any]

ONE_EPOCH = {"history": [{"train/loss": 1.0, "val/accuracy": 0.5}]}


def test_a_search_begins_with_all_its_runs_waiting(make_search: MakeSearch) -> None:
    """Plan, owner, facts and runs are known from the first entry."""
    search = make_search()
    search.begin()

    history = SearchHistory(search.folder)
    entries = history.follow()

    assert [entry["kind"] for entry in entries] == ["search", "lane"]
    assert list(history.runs) == search.run_ids
    assert {run.status for run in history.runs.values()} == {"waiting"}
    assert history.status == "running"
    assert history.lanes == {"lane 0": ""}
    assert history.facts["torch"] == "2.11.0"
    assert history.lane_facts == {"lane 0": {"device": "cpu"}}
    assert "device" not in history.facts
    first = history.runs[search.run_ids[0]]
    assert (first.setting, first.seed, first.epochs) == ({"loss.label_smoothing": 0.0}, 0, 3)


def test_a_run_is_followed_from_start_to_end(make_search: MakeSearch) -> None:
    """Status, lane, attempt and epochs; its lane is free again afterwards."""
    search = make_search()
    search.begin()
    search.start(1)
    search.report(1, 1, 0.5)
    history = SearchHistory(search.folder)
    history.follow()
    run = history.runs[search.run_ids[1]]

    assert (run.status, run.lane, run.attempt) == ("running", "lane 0", 1)
    assert run.history == [{"epoch": 1, "train/loss": 1.0, "val/accuracy": 0.5}]
    assert history.lanes == {"lane 0": search.run_ids[1]}

    search.report(1, 2, 0.75)
    search.end(1, "finished", metrics={"val/accuracy": 0.75}, weights_sha256="ab")
    assert [entry["kind"] for entry in history.follow()] == ["epoch", "end"]

    assert run.status == "finished"
    assert 0 < run.started <= run.times[0] <= run.times[1] <= run.ended
    assert history.lanes == {"lane 0": ""}


def test_a_search_becomes_a_record(make_search: MakeSearch) -> None:
    """Everything that a table needs, of finished, failed and stopped runs."""
    search = make_search()
    search.begin()
    search.train(0, 0.5, 0.75)
    search.start(1)
    search.end(1, "failed", error="ValueError: no", traceback="/data/error.txt")
    search.start(2)
    search.report(2, 1, 0.25)
    search.end(2, "stopped", error="stopped")
    search.close("stopped")

    record = read_search(search.folder)

    assert (record.label, record.status, record.folder) == ("demo#1", "stopped", search.folder)
    assert (record.metric, record.maximize, record.select) == ("val/accuracy", True, "last")
    assert record.settings == ({"loss.label_smoothing": 0.0}, {"loss.label_smoothing": 0.1})
    assert (record.seeds, record.baseline) == ((0, 1), {"loss.label_smoothing": 0.0})
    finished, failed, stopped, waiting = record.runs
    assert finished.metrics == {"train/loss": 0.5, "val/accuracy": 0.75}
    assert [epoch["val/accuracy"] for epoch in finished.history] == [0.5, 0.75]
    assert (finished.weights_sha256, finished.duration_s) == ("0123abcd", 2.5)
    assert (failed.status, failed.error, failed.metrics) == ("failed", "ValueError: no", {})
    assert (failed.traceback, finished.traceback) == ("/data/error.txt", "")
    assert (stopped.status, len(stopped.history), stopped.metrics) == ("stopped", 1, {})
    assert (waiting.status, waiting.history, waiting.duration_s) == ("waiting", (), 0.0)


def test_a_record_says_that_it_trained_on_few_batches(make_search: MakeSearch) -> None:
    """A plan that repeats two batches; a whole training has nothing to say."""
    search = make_search()
    search.begin()
    assert read_search(search.folder).limits == ""
    plan = search.plan.to_json()
    plan["runs"][0]["numbers"]["overfit_batches"] = 2
    search.book.append("search", plan=plan, owner={}, facts={})

    assert read_search(search.folder).limits == (
        "trained on the same 2 batches in every epoch: a check of the code, not of the method"
    )


def test_a_record_becomes_a_frame(make_search: MakeSearch) -> None:
    """One row per run, searched keys and metrics as columns."""
    search = make_search()
    search.begin()
    search.train(0, 0.5)
    search.close()

    frame = read_search(search.folder).to_pandas()

    assert list(frame["seed"]) == [0, 1, 0, 1]
    assert list(frame["loss.label_smoothing"]) == [0.0, 0.0, 0.1, 0.1]
    assert frame["val/accuracy"][0] == 0.5
    assert frame["val/accuracy"].isna().sum() == 3


def test_a_run_that_begins_again_forgets_its_epochs(make_search: MakeSearch) -> None:
    """Its record holds the second attempt alone; its first reports are kept beside it."""
    search = make_search()
    search.begin()
    search.start(0)
    search.report(0, 1, 0.1)
    search.report(0, 2, 0.2)
    search.start(0, attempt=2)
    search.report(0, 1, 0.3)
    history = SearchHistory(search.folder)
    history.follow()

    run = history.runs[search.run_ids[0]]
    assert run.attempt == 2
    assert [epoch["val/accuracy"] for epoch in run.history] == [0.3]
    assert [values["val/accuracy"] for _, values in run.first_reports] == [0.1, 0.2]
    assert len(run.times) == 1

    for epoch, accuracy in ((2, 0.4), (3, 0.5)):
        search.report(0, epoch, accuracy)
    search.end(0, "finished", metrics={"val/accuracy": 0.5})
    record = read_search(search.folder).runs[0]
    assert [epoch["epoch"] for epoch in record.history] == [1, 2, 3]
    assert [epoch["val/accuracy"] for epoch in record.history] == [0.3, 0.4, 0.5]


def test_what_has_interrupted_a_run_is_kept(make_search: MakeSearch) -> None:
    """No lane is left; what was being trained waits and has it noted, nothing else has."""
    search = make_search()
    search.begin()
    search.train(0, 0.5)
    search.start(1)
    search.book.append(journal.LOST, cause="node b is gone")
    history = SearchHistory(search.folder)
    history.follow()

    assert history.lanes == {}
    runs = [history.runs[run_id] for run_id in search.run_ids]
    assert [run.status for run in runs] == ["finished", "waiting", "waiting", "waiting"]
    assert [[note["cause"] for note in run.notes] for run in runs] == [
        [],
        ["node b is gone"],
        [],
        [],
    ]


def test_an_answer_is_kept(make_search: MakeSearch) -> None:
    """With its sentence, for those who come later."""
    search = make_search()
    search.begin()
    search.close()
    history = SearchHistory(search.folder)
    history.follow()

    assert history.status == "finished"
    assert history.answer["sentence"] == "no value is better"


def test_a_search_that_never_began_is_no_record(tmp_path: Path) -> None:
    """The folder is named."""
    with pytest.raises(RecordError) as caught:
        read_search(tmp_path)

    assert str(caught.value) == (f"the journal in {tmp_path} is empty: the search never began")


def read_metrics(search: Any, index: int) -> list[dict[str, str]]:
    """The lines of a run's `metrics.csv`."""
    path = search.folder / search.run_ids[index].rpartition("/")[2] / "metrics.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_epochs_are_written_to_each_runs_file(make_search: MakeSearch) -> None:
    """A line per epoch under one head, as they come."""
    search = make_search()
    search.begin()
    search.start(0)
    history = SearchHistory(search.folder)
    for epoch in (1, 2):
        search.report(0, epoch, epoch / 10)
        append_metrics(history, history.follow())

    assert read_metrics(search, 0) == [
        {"epoch": "1", "train/loss": "1.0", "val/accuracy": "0.1"},
        {"epoch": "2", "train/loss": "0.5", "val/accuracy": "0.2"},
    ]


def test_a_run_that_begins_again_begins_its_file_again(make_search: MakeSearch) -> None:
    """So does the whole journal, read from its beginning."""
    search = make_search()
    search.begin()
    search.start(0)
    search.report(0, 1, 0.1)
    search.start(0, attempt=2)
    search.report(0, 1, 0.3)

    for _ in range(2):
        history = SearchHistory(search.folder)
        append_metrics(history, history.follow())

    assert [line["val/accuracy"] for line in read_metrics(search, 0)] == ["0.3"]


def test_a_run_that_goes_on_has_the_epochs_before(make_search: MakeSearch) -> None:
    """An attempt that says where it went on from has that history, without a second report."""
    search = make_search()
    search.begin()
    search.start(0)
    search.report(0, 1, 0.5)
    search.report(0, 2, 0.6)
    search.start(0, attempt=2)
    search.note(0, "resumed", steps=3, checkpoint="", damaged=["a.pt"], **ONE_EPOCH)
    search.report(0, 2, 0.6)

    run = follow(search).runs[search.run_ids[0]]

    assert [metrics["epoch"] for metrics in run.history] == [1, 2]
    assert len(run.first_reports) == 2
    assert [attempt["attempt"] for attempt in run.attempts] == [1, 2]
    assert run.to_record("x").notes == ("a.pt is damaged; went on from the beginning",)


def test_a_search_that_goes_on_keeps_what_has_finished(make_search: MakeSearch) -> None:
    """After a second beginning: finished runs stay, stopped and failed ones wait again."""
    search = make_search()
    search.begin()
    first = follow(search)
    search.train(0, 0.5)
    search.start(1)
    search.end(1, "stopped", error="stopped before it had finished")
    search.start(2)
    search.end(2, "failed", error="the loss turned to nan")
    search.close("stopped")
    search.begin(done=(0,))

    history = follow(search)

    statuses = [history.runs[run].status for run in search.run_ids]
    assert statuses == ["finished", "waiting", "waiting", "waiting"]
    assert (history.status, history.answer) == ("running", {})
    assert history.begun == first.begun


def follow(search: Any) -> SearchHistory:
    """What a search's journal comes to."""
    history = SearchHistory(search.folder)
    history.follow()
    return history


def test_a_run_that_goes_on_has_its_whole_file(make_search: MakeSearch) -> None:
    """`metrics.csv` begins anew, with the epochs that need not be trained again."""
    search = make_search()
    search.begin()
    search.start(0)
    search.report(0, 1, 0.5)
    search.report(0, 2, 0.6)
    search.start(0, attempt=2)
    search.note(0, "resumed", steps=0, checkpoint="c.pt", damaged=[], **ONE_EPOCH)
    search.report(0, 2, 0.75)
    history = SearchHistory(search.folder)

    append_metrics(history, history.follow())

    path = Path(search.plan.runs[0].place.folder) / "metrics.csv"
    assert path.read_text().splitlines() == [
        "epoch,train/loss,val/accuracy",
        "1,1.0,0.5",
        "2,0.5,0.75",
    ]


def lane_of(workers: int) -> list[dict[str, Any]]:
    """What the ranks of a lane say of themselves."""
    return [{"rank": rank, "device": "cpu", "threads": 1} for rank in range(workers)]


def test_a_run_that_had_fewer_workers_for_a_part_is_marked(make_search: MakeSearch) -> None:
    """Whatever number it ended with; one that always had all of them is not."""
    search = make_search(resources={"num_workers": 2, "min_workers": 1})
    search.begin()
    for count in (2, 1, 2):
        search.join("lane 0", workers=lane_of(count))
        search.start(0)
    search.start(1)

    first, second, *_ = follow(search).to_record().runs

    assert (first.fewer_workers, second.fewer_workers) == ("1 of 2 workers", "")


def test_what_has_interrupted_a_run_is_told_by_its_kind(make_search: MakeSearch) -> None:
    """A machine that was taken away is no failure, and a death is no preemption."""
    search = make_search()
    search.begin()
    search.start(0)
    for why in ("its machine will be taken away", "its machine is gone"):
        search.note(0, "preempted", why=why)
    search.note(0, "died", why="the actor is dead")
    search.note(0, "memory", peak=2**31, left=2**29, reserved=2**29)
    search.note(0, "memory", peak=2**31, left=2**20, reserved=2**21)

    run = follow(search).runs[search.run_ids[0]]

    assert run.to_record("x").notes == (
        "512 MiB of the GPU stayed taken after it; the next run of its lane has less",
        "preempted 2 times (its machine is gone); went on from its checkpoint",
        "lost a worker once (the actor is dead); went on from its checkpoint",
    )
    assert count_interruptions(run.notes) == {"preemptions": 2, "deaths": 1}
