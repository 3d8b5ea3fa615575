"""The receipt of a run: what its numbers came from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.tracking import journal
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.receipt import build_receipt, compare_receipts, write_receipt

MakeSearch = Callable[..., Any]

WORKERS = [
    {"rank": rank, "pid": 100 + rank, "device": f"cuda:{rank}", "threads": 1} for rank in (0, 1)
]


def follow(search: Any) -> SearchHistory:
    """What a search's journal comes to."""
    history = SearchHistory(search.folder)
    history.follow()
    return history


def train(make_search: MakeSearch, **sections: Any) -> SearchHistory:
    """A search whose first run was begun twice, on two workers."""
    search = make_search(**sections)
    search.begin()
    search.join("lane 0", workers=WORKERS)
    search.start(0)
    search.start(0, attempt=2)
    search.note(0, "resumed", history=[], steps=3, checkpoint="step-3", damaged=[])
    search.report(0, 1, 0.5)
    search.end(0, "finished", metrics={"val/accuracy": 0.5}, weights_sha256="0123")
    return follow(search)


def test_a_receipt_names_what_the_numbers_came_from(make_search: MakeSearch) -> None:
    """Plan, versions, commit, every worker's device, every attempt, and what was noted."""
    history = train(make_search)
    run_id = next(iter(history.runs))

    receipt = build_receipt(history, run_id)

    plan = history.runs[run_id].plan
    assert receipt["numbers"] == plan["numbers"]
    assert receipt["fingerprint"] == plan["fingerprint"]
    assert receipt["weights_sha256"] == "0123"
    assert receipt["git"] == {"commit": "abc", "dirty": "false"}
    assert receipt["software"]["torch"] == "2.11.0"
    assert receipt["workers"] == WORKERS
    attempts = [(a["attempt"], a["world_size"], a["devices"]) for a in receipt["attempts"]]
    assert attempts == [(1, 2, ["cuda:0", "cuda:1"]), (2, 2, ["cuda:0", "cuda:1"])]
    assert [note["checkpoint"] for note in receipt["notes"]] == ["step-3"]
    assert "label_smoothing" in receipt["spec"]


def test_a_receipt_lies_in_the_runs_folder(make_search: MakeSearch) -> None:
    """As JSON that reads as it was made."""
    history = train(make_search)
    run_id = next(iter(history.runs))

    path = write_receipt(history, run_id)

    assert path == Path(history.runs[run_id].plan["place"]["folder"]) / "receipt.json"
    assert json.loads(path.read_text()) == build_receipt(history, run_id)


def test_receipts_are_compared_by_what_matters(make_search: MakeSearch, tmp_path: Path) -> None:
    """Times, folders and process ids pass; a version, a device or a number does not."""
    first = train(make_search)
    again = train(make_search, storage=tmp_path / "elsewhere")
    other = train(make_search, storage=tmp_path / "other", optimizer={"lr": 0.5})
    receipts = [
        build_receipt(history, "demo/1/label_smoothing=0,seed=0")
        for history in (first, again, other)
    ]
    receipts[1]["workers"][0] = {**WORKERS[0], "pid": 7}

    assert compare_receipts(receipts[0], receipts[1]) == []
    fields = [field for field, _, _ in compare_receipts(receipts[0], receipts[2])]
    assert fields == ["fingerprint", "numbers.optimizer.lr"]
    receipts[1]["software"]["torch"] = "2.12.0"
    assert compare_receipts(receipts[0], receipts[1]) == [
        ("software.torch", "2.11.0", "2.12.0")
    ]


def test_a_journal_without_workers_has_a_receipt_too(make_search: MakeSearch) -> None:
    """One that an earlier version wrote."""
    search = make_search()
    search.begin()
    search.train(0, 0.5)
    history = follow(search)

    assert build_receipt(history, search.run_ids[0])["workers"] == []
    assert journal.NOTE not in {entry["kind"] for entry in history.follow()}


def move_on(make_search: MakeSearch) -> Any:
    """A search that was interrupted, and went on under another torch and on another CPU."""
    search = make_search()
    search.begin()
    search.join("lane 0", workers=[{**WORKERS[0], "cpu_capability": "AVX512"}])
    search.train(0, 0.5)
    search.start(1)
    search.begin(done=(0,), torch="2.12.0", **{"git.commit": "def"})
    search.join("lane 0", workers=[{**WORKERS[0], "cpu_capability": "AVX2"}])
    search.start(1)
    search.end(1, "finished")
    return search


def test_a_receipt_has_what_its_own_run_was_trained_under(make_search: MakeSearch) -> None:
    """Not what the search has gone on with since."""
    search = move_on(make_search)
    history = follow(search)

    first, second = (build_receipt(history, run_id) for run_id in search.run_ids[:2])

    assert (first["software"]["torch"], first["git"]["commit"]) == ("2.11.0", "abc")
    assert (second["software"]["torch"], second["git"]["commit"]) == ("2.12.0", "def")
    assert history.facts_of(history.runs[search.run_ids[0]])["torch"] == "2.11.0"
    assert (first["attempts"][0]["differs"], first["changes"]) == ({}, [])


def test_every_attempt_has_its_own(make_search: MakeSearch) -> None:
    """Workers and versions of each, and what changed in between, on the screen too."""
    search = move_on(make_search)
    history = follow(search)

    receipt = build_receipt(history, search.run_ids[1])

    before, last = receipt["attempts"]
    assert before["differs"] == {"git.commit": "abc", "torch": "2.11.0"}
    assert last["differs"] == {}
    assert [a["workers"][0]["cpu_capability"] for a in (before, last)] == ["AVX512", "AVX2"]
    changes = (
        "attempt 2 went on under other conditions: torch 2.12.0, was 2.11.0; "
        "cpu_capability AVX2, was AVX512"
    )
    assert receipt["changes"] == [changes]
    assert history.to_record().runs[1].notes == (changes,)
