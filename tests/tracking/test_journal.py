"""The journal: what it keeps, whatever happens to its writers."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.tracking.journal import FILE_NAME, Journal, JournalReader, end_unfinished

WRITER = """
import sys
from pathlib import Path
from orchestrator.tracking.journal import Journal
for n in range(200):
    book = Journal(Path(sys.argv[1]))
    book.append("note", writer=sys.argv[2], n=n, text="x" * 20000)
    book.close()
"""


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    """Entries keep their order and values; each has a kind and a time."""
    book = Journal(tmp_path / "new" / "folder")
    book.append("epoch", run="a", metrics={"val/accuracy": 0.5})
    book.append("end", run="a")
    book.close()

    first, second = JournalReader(tmp_path / "new" / "folder").read()

    assert 1.7e9 < first.pop("t") <= second.pop("t")
    assert first == {"kind": "epoch", "run": "a", "metrics": {"val/accuracy": 0.5}}
    assert second == {"kind": "end", "run": "a"}


def test_a_reader_gets_every_entry_once(tmp_path: Path) -> None:
    """Before there is a file nothing, then what is new since the last call."""
    reader = JournalReader(tmp_path)
    assert list(reader.read()) == []
    book = Journal(tmp_path)

    book.append("a")
    assert [entry["kind"] for entry in reader.read()] == ["a"]
    assert list(reader.read()) == []
    book.append("b")
    book.append("c")
    assert [entry["kind"] for entry in reader.read()] == ["b", "c"]


def test_a_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    """It is not read until it is whole."""
    path, reader = tmp_path / FILE_NAME, JournalReader(tmp_path)
    path.write_text('{"kind": "a"}\n{"kind": ')
    assert [entry["kind"] for entry in reader.read()] == ["a"]

    with path.open("a") as file:
        file.write('"b"}\n')

    assert [entry["kind"] for entry in reader.read()] == ["b"]


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    """Who opens the journal next ends the line, and every reader skips it."""
    (tmp_path / FILE_NAME).write_text('{"kind": "a"}\n{"kind": "to')

    Journal(tmp_path).append("b")

    assert [entry["kind"] for entry in JournalReader(tmp_path).read()] == ["a", "b"]


def test_a_whole_journal_is_opened_as_it_is(tmp_path: Path) -> None:
    """No empty line is added, not even to an empty file."""
    Journal(tmp_path).close()
    Journal(tmp_path).append("a")
    before = (tmp_path / FILE_NAME).read_bytes()

    Journal(tmp_path).close()

    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert before.count(b"\n") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    """And nothing of the entry is written."""
    book = Journal(tmp_path)

    with pytest.raises(ValueError, match="not JSON compliant"):
        book.append("epoch", metrics={"val/nll": value})

    assert (tmp_path / FILE_NAME).read_bytes() == b""


def test_two_processes_may_write_at_once(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    """800 long entries of four writers are all whole, each writer's in order.

    Each opens the journal anew for each entry: a half of another's line is not a torn one.
    """
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name], env=child_environment
        )
        for name in "abcd"
    ]

    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4

    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == 800
    for name in "abcd":
        assert [e["n"] for e in entries if e["writer"] == name] == list(range(200))


def test_runs_that_will_never_end_are_ended(tmp_path: Path) -> None:
    """As stopped, with the reason, and with their durations where they are known."""
    end_unfinished(Journal(tmp_path), ["a", "b"], error="killed", durations={"b": 1.5})

    entries = list(JournalReader(tmp_path).read())

    assert [(e["kind"], e["run"], e["duration_s"]) for e in entries] == [
        ("end", "a", 0.0),
        ("end", "b", 1.5),
    ]
    assert {(e["status"], e["error"], e["weights_sha256"]) for e in entries} == {
        ("stopped", "killed", "")
    }
