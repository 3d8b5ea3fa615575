"""From the journal to MLflow's store: everything once, whatever happens in between."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking.mlflow_ids import read_ids
from orchestrator.tracking.replay import Replay
from orchestrator.tracking.replay_thread import ReplayThread
from orchestrator.tracking.store import open_store

MakeSearch = Callable[..., Any]


@pytest.fixture(autouse=True)
def own_cache(cache_home: Path) -> Path:
    """Every test here opens a store."""
    return cache_home


def tell_story(make_search: MakeSearch, folder: Path) -> Any:
    """A search of which one run finishes, one fails, one is stopped and one never begins."""
    picture = folder / "response.png"
    picture.write_bytes(b"a picture")
    search = make_search()
    search.begin()
    search.train(0, 0.5, 0.75)
    search.start(1)
    search.report(1, 1, 0.25)
    search.end(1, "failed", error="ValueError: no such thing")
    search.start(2)
    search.end(2, "stopped", error="stopped before it had finished")
    search.end(3, "stopped", error="stopped before it began")
    search.close("stopped", files=(picture,))
    return search


def replay(search: Any) -> Any:
    """Replay a whole search from its beginning; MLflow's client."""
    work = Replay(search.folder)
    assert work.step()
    assert work.is_complete
    return open_store(search.plan.store_uri)


def find_runs(client: Any, search: Any) -> dict[str, Any]:
    """Our run id, or the search's label, to MLflow's run; each is there once."""
    experiment = client.get_experiment_by_name(search.plan.name)
    found = client.search_runs([experiment.experiment_id])
    runs = {run.data.tags["orchestrator.run_id"]: run for run in found}
    assert len(runs) == len(found)
    return runs


def count_metrics(search: Any) -> Counter[tuple[str, str, int]]:
    """(run, metric, step) to how often it is in the store."""
    with sqlite3.connect(search.plan.store_uri.removeprefix("sqlite:///")) as connection:
        return Counter(connection.execute("SELECT run_uuid, key, step FROM metrics").fetchall())


def test_a_search_becomes_a_parent_and_its_children(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """Names with their outcome, tags, parameters, metrics, endings and artifacts."""
    search = tell_story(make_search, tmp_path)

    client = replay(search)

    runs = find_runs(client, search)
    parent, finished, failed, stopped = (
        runs.pop(name) for name in ["demo#1", *search.run_ids[:3]]
    )
    # A run that never began has nothing to show.
    assert runs == {}

    names = [run.info.run_name for run in (parent, finished, failed, stopped)]
    assert names == [
        "demo#1",
        "label_smoothing=0 seed=0 → 0.750",
        "label_smoothing=0 seed=1 → failed",
        "label_smoothing=0.1 seed=0 → stopped",
    ]
    statuses = [run.info.status for run in (parent, finished, failed, stopped)]
    assert statuses == ["KILLED", "FINISHED", "FAILED", "KILLED"]

    for child in (finished, failed, stopped):
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["orchestrator.kind"] == "run"
    tags = finished.data.tags
    assert tags["orchestrator.search"] == "demo#1"
    assert tags["loss.label_smoothing"] == "0"
    assert tags["orchestrator.setting"] == "label_smoothing=0"
    assert tags["orchestrator.seed"] == "0"
    assert tags["orchestrator.weights"] == "0123abcd"
    assert tags["orchestrator.torch"] == "2.11.0"
    assert tags["orchestrator.device"] == "cpu"
    assert tags["orchestrator.git.dirty"] == "false"
    assert failed.data.tags["orchestrator.error"] == "ValueError: no such thing"
    assert "orchestrator.error" not in tags

    params = stopped.data.params
    assert params["loss.label_smoothing"] == "0.1"
    assert params["data.batch_size"] == "64"
    assert params["optimizer.lr"] == "0.1"
    assert params["limit_batches"] == "null"

    assert finished.data.metrics == {
        "train/loss": 0.5,
        "val/accuracy": 0.75,
        "result/loss": 0.5,
        "result/accuracy": 0.75,
    }
    history = client.get_metric_history(finished.info.run_id, "val/accuracy")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.75)]

    assert parent.data.tags["orchestrator.kind"] == "search"
    assert parent.data.tags["mlflow.note.content"].startswith("**no value is better**")
    artifacts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"spec.yaml", "plan.json", "response.png"}
    stored = tmp_path / "mlflow-artifacts" / "demo" / parent.info.run_id / "artifacts"
    assert (stored / "spec.yaml").read_text() == search.plan.spec_text
    assert json.loads((stored / "plan.json").read_text())["name"] == "demo"


def test_a_replay_from_the_beginning_changes_nothing(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """Twice from scratch: the same runs, and every metric of every step once."""
    search = tell_story(make_search, tmp_path)
    first = {
        name: run.to_dictionary() for name, run in find_runs(replay(search), search).items()
    }

    second = {
        name: run.to_dictionary() for name, run in find_runs(replay(search), search).items()
    }

    assert second == first
    counts = count_metrics(search)
    # Two epochs and one result of two metrics, one epoch of two metrics.
    assert len(counts) == 8
    assert set(counts.values()) == {1}


def test_a_search_is_written_as_it_goes(make_search: MakeSearch) -> None:
    """Nothing before an epoch is reported; then running runs, and each epoch once."""
    search = make_search()
    search.begin()
    search.start(0)
    work = Replay(search.folder)
    assert not work.step()
    assert not Path(search.plan.store_uri.removeprefix("sqlite:///")).exists()

    for epoch in (1, 2):
        search.report(0, epoch, 0.5)
        assert work.step()
        assert work.step()

    client = open_store(search.plan.store_uri)
    runs = find_runs(client, search)
    assert {name: run.info.status for name, run in runs.items()} == {
        "demo#1": "RUNNING",
        search.run_ids[0]: "RUNNING",
    }
    assert runs[search.run_ids[0]].info.run_name == "label_smoothing=0 seed=0"
    assert runs["demo#1"].data.tags["mlflow.note.content"] == "does smoothing help?"
    assert set(count_metrics(search).values()) == {1}
    assert not work.is_complete
    ids = read_ids(search.folder)
    assert ids is not None
    assert (ids["search"], ids["complete"]) == (runs["demo#1"].info.run_id, False)
    assert ids["runs"] == {search.run_ids[0]: runs[search.run_ids[0]].info.run_id}
    # The link of `orchestrator ui` leads to a view that is there already.
    tags = client.get_experiment(ids["experiment"]).tags
    assert set(tags) >= {"mlflow.sharedViewState.search1"}


def test_a_run_that_began_again_is_written_once(make_search: MakeSearch) -> None:
    """Live or from the beginning, MLflow keeps the first report of every epoch."""
    search = make_search()
    search.begin()
    search.start(0)
    search.report(0, 1, 0.1)
    live = Replay(search.folder)
    live.step()
    search.start(0, attempt=2)
    search.report(0, 1, 0.3)
    search.report(0, 2, 0.4)
    live.step()

    Replay(search.folder).step()

    assert set(count_metrics(search).values()) == {1}
    client = open_store(search.plan.store_uri)
    run = find_runs(client, search)[search.run_ids[0]]
    history = client.get_metric_history(run.info.run_id, "val/accuracy")
    assert [(m.step, m.value) for m in history] == [(1, 0.1), (2, 0.4)]


def test_a_run_is_tagged_by_the_lane_that_trained_it(make_search: MakeSearch) -> None:
    """Host and device are the last lane's; the search has what holds for all of it."""
    search = make_search()
    search.begin()
    search.join("lane 1", host="b", pid=7, device="H200", torch="2.11.0+cu130", cuda="13.0")
    search.train(0, 0.5)
    search.start(1)
    search.report(1, 1, 0.5)
    Replay(search.folder).step()
    search.start(1, attempt=2, lane="lane 1")
    search.report(1, 1, 0.5)
    search.end(1, "finished")
    search.close()

    runs = find_runs(replay(search), search)

    first, second, whole = (runs[name].data.tags for name in (*search.run_ids[:2], "demo#1"))
    assert first["orchestrator.device"] == "cpu"
    assert "orchestrator.host" not in first
    names = ("host", "pid", "device", "torch", "cuda")
    assert [second[f"orchestrator.{name}"] for name in names] == [
        "b",
        "7",
        "H200",
        "2.11.0+cu130",
        "13.0",
    ]
    assert whole["orchestrator.torch"] == "2.11.0+cu130"
    assert not {f"orchestrator.{name}" for name in ("host", "pid", "device")} & set(whole)


def test_a_run_that_finished_in_the_end_has_no_error(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """What an earlier attempt failed of is history; others keep theirs."""
    search = tell_story(make_search, tmp_path)
    replay(search)
    search.begin(done=(0,))
    search.train(1, 0.5)
    search.start(2)
    search.end(2, "failed", error="the loss turned to nan")
    search.close()

    runs = find_runs(replay(search), search)

    tags = [runs[name].data.tags.get("orchestrator.error") for name in search.run_ids[1:3]]
    assert tags == [None, "the loss turned to nan"]
    assert runs[search.run_ids[1]].info.status == "FINISHED"


def test_ids_are_written_at_the_end(make_search: MakeSearch, tmp_path: Path) -> None:
    """Where the store is, its ids of the search and of each run, and that all is written."""
    search = tell_story(make_search, tmp_path)
    assert read_ids(search.folder) is None

    client = replay(search)

    runs = find_runs(client, search)
    assert read_ids(search.folder) == {
        "uri": search.plan.store_uri,
        "experiment": runs["demo#1"].info.experiment_id,
        "complete": True,
        "search": runs["demo#1"].info.run_id,
        "runs": {name: runs[name].info.run_id for name in search.run_ids[:3]},
    }


def test_searches_of_one_label_are_kept_apart(make_search: MakeSearch, tmp_path: Path) -> None:
    """Two storage folders on one store, or a folder that was removed: both are number 1."""
    store = {"tracking": {"uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}}
    searches = [make_search(storage=tmp_path / name, **store) for name in "ab"]
    for search, accuracy in zip(searches, (0.25, 0.75), strict=True):
        search.begin()
        search.train(0, accuracy)
        search.close()

    for search in searches:
        replay(search)

    first, second = (read_ids(search.folder) for search in searches)
    assert first is not None
    assert second is not None
    assert first["experiment"] == second["experiment"]
    assert not {first["search"], *first["runs"].values()} & {
        second["search"],
        *second["runs"].values(),
    }
    client = open_store(searches[0].plan.store_uri)
    values = [
        client.get_run(ids["runs"][searches[0].run_ids[0]]).data.metrics["val/accuracy"]
        for ids in (first, second)
    ]
    assert values == [0.25, 0.75]


def test_a_folder_with_odd_characters_holds_artifacts(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """A blank and a hash are letters of a path, whatever they mean in an address."""
    search = make_search(storage=tmp_path / "a b#c")
    search.begin()
    search.train(0, 0.5)
    search.close()

    client = replay(search)

    parent = find_runs(client, search)["demo#1"].info.run_id
    stored = tmp_path / "a b#c" / "mlflow-artifacts" / "demo" / parent / "artifacts"
    assert sorted(path.name for path in stored.iterdir()) == ["plan.json", "spec.yaml"]


def test_a_store_that_fails_for_a_while_is_completed_later(make_search: MakeSearch) -> None:
    """Nothing is lost, not even parameters of a run that was begun before the failure."""
    search = make_search()
    search.begin()
    search.train(0, 0.5, 0.75)
    Replay(search.folder).step()
    search.train(1, 0.25)
    search.close()
    connection = sqlite3.connect(search.plan.store_uri.removeprefix("sqlite:///"))
    connection.execute("ALTER TABLE params RENAME TO away")

    thread = ReplayThread(search.folder)
    assert thread.finish(30) is False
    assert "no such table: params" in thread.error

    connection.execute("ALTER TABLE away RENAME TO params")
    connection.close()
    thread = ReplayThread(search.folder)
    assert thread.finish(30) is True
    assert thread.error == ""
    assert set(count_metrics(search).values()) == {1}
    runs = find_runs(open_store(search.plan.store_uri), search)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs[search.run_ids[1]].data.params["seed"] == "1"
    assert runs[search.run_ids[1]].data.metrics["val/accuracy"] == 0.25


def test_a_thread_leaves_when_there_is_nothing_to_write(make_search: MakeSearch) -> None:
    """A search that never trained is no reason to wait, and none to load MLflow."""
    search = make_search()
    search.begin()

    assert ReplayThread(search.folder).finish(30) is False
    assert list(search.folder.iterdir()) == [search.folder / "journal.jsonl"]
