"""Where everything lies, and how searches get their numbers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import InfeasibleError, RecordError
from orchestrator.tracking import storage
from orchestrator.tracking.journal import Journal

ASKER = """
import sys
from pathlib import Path
from orchestrator.tracking.storage import claim_number
print("ready", flush=True)
input()
print(claim_number(Path(sys.argv[1]), "demo"))
"""


def record(folder: Path, name: str, number: int) -> Path:
    """A search that has a journal."""
    search = folder / name / str(number)
    Journal(search).close()
    return search


def test_storage_is_what_was_asked_for_else_the_environments_else_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Always absolute; `~` is the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv(storage.VARIABLE, raising=False)

    assert storage.find_storage() == tmp_path / "runs"
    assert storage.find_storage("here") == tmp_path / "here"
    assert storage.find_storage("~/runs") == Path("/home/somebody/runs")
    monkeypatch.setenv(storage.VARIABLE, "/elsewhere")
    assert storage.find_storage() == Path("/elsewhere")
    assert storage.find_storage("here") == tmp_path / "here"


def test_numbers_count_on_from_the_highest(tmp_path: Path) -> None:
    """Gaps stay gaps, other folders and files do not count, a name begins with 1."""
    assert storage.next_number(tmp_path, "demo") == 1
    for name in ("2", "10", "notes"):
        (tmp_path / "demo" / name).mkdir(parents=True)

    assert storage.list_numbers(tmp_path, "demo") == [2, 10]
    assert storage.next_number(tmp_path, "demo") == 11
    assert storage.claim_number(tmp_path, "demo") == 11
    assert storage.claim_number(tmp_path, "demo") == 12
    assert storage.next_number(tmp_path, "other") == 1


def test_no_two_searches_get_one_number(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    """Eight processes that ask at once get the numbers 1 to 8."""
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER, str(tmp_path)],
            env=child_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for asker in askers:
        assert asker.stdout is not None
        assert asker.stdout.readline() == "ready\n"
    for asker in askers:
        assert asker.stdin is not None
        asker.stdin.write("go\n")
        asker.stdin.flush()
    numbers = [int(asker.communicate()[0]) for asker in askers]

    assert sorted(numbers) == list(range(1, 9))


def test_a_number_of_a_deleted_search_is_not_given_again(tmp_path: Path) -> None:
    """Nor after the whole name was deleted; other names count for themselves."""
    for _ in range(2):
        storage.claim_number(tmp_path, "demo")
    shutil.rmtree(tmp_path / "demo" / "2")
    assert storage.claim_number(tmp_path, "demo") == 3

    shutil.rmtree(tmp_path / "demo")

    assert storage.next_number(tmp_path, "demo") == 4
    assert storage.next_number(tmp_path, "other") == 1
    with pytest.raises(RecordError, match=r"^no search of the name 'demo' under \S+$"):
        storage.find_search(tmp_path, "demo")


def test_storage_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The folder, the cause, and what to set."""
    (tmp_path / "file").write_text("")

    with pytest.raises(InfeasibleError) as caught:
        storage.claim_number(tmp_path / "file" / "runs", "demo")

    assert str(caught.value) == (
        f"storage_path: cannot write to {tmp_path / 'file' / 'runs'} (Not a directory); "
        "set storage_path or ORCHESTRATOR_STORAGE to a folder that can be written"
    )


@pytest.mark.parametrize("folder", ["file", "file/runs", "link/runs"])
def test_storage_is_checked_before_anything_starts(tmp_path: Path, folder: str) -> None:
    """Below a file, or behind a link to nowhere, nothing can be made."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    with pytest.raises(InfeasibleError) as caught:
        storage.check_storage(tmp_path / folder)

    cause = "No such file or directory" if folder == "link/runs" else "Not a directory"
    assert str(caught.value) == (
        f"storage_path: cannot write to {tmp_path / folder} ({cause}); "
        "set storage_path or ORCHESTRATOR_STORAGE to a folder that can be written"
    )


def test_a_check_of_storage_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder that is missing stays so; one that is there stays empty."""
    storage.check_storage(tmp_path / "deep" / "runs")
    storage.check_storage(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_latest_search_is_the_one_that_began_last(tmp_path: Path) -> None:
    """Whatever its name and number; a later change of another's files does not count."""
    for name, number, began in (("b", 1, 30.0), ("a", 2, 20.0), ("c", 1, 10.0)):
        journal = record(tmp_path, name, number) / "journal.jsonl"
        lines = [{"kind": "search", "t": began}, {"kind": "answer", "t": 100.0 - began}]
        journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record(tmp_path, "d", 1)
    os.utime(tmp_path / "c" / "1" / "journal.jsonl")

    assert storage.latest_search(tmp_path) == tmp_path / "b" / "1"
    assert storage.latest_search(tmp_path / "none") is None


def test_a_name_means_its_latest_search(tmp_path: Path) -> None:
    """Of those that have a journal; the tenth comes after the second."""
    record(tmp_path, "demo", 2)
    latest = record(tmp_path, "demo", 10)
    (tmp_path / "demo" / "11").mkdir()

    assert storage.find_search(tmp_path, "demo") == latest
    assert storage.find_search(tmp_path, "demo#2") == tmp_path / "demo" / "2"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("demo#3", "demo has no search '3'; its numbers are 1, 2"),
        ("demo#x", "demo has no search 'x'; its numbers are 1, 2"),
        ("dem", "no search of the name 'dem' under {}; there are demo, other"),
    ],
)
def test_a_search_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, label: str, message: str
) -> None:
    """Numbers of the name, or names under the storage."""
    for name, number in (("demo", 1), ("demo", 2), ("other", 1)):
        record(tmp_path, name, number)

    with pytest.raises(RecordError) as caught:
        storage.find_search(tmp_path, label)

    assert str(caught.value) == message.format(tmp_path)


def test_where_nothing_is_recorded_no_names_are_offered(tmp_path: Path) -> None:
    """Not even the storage folder has to exist."""
    with pytest.raises(RecordError) as caught:
        storage.find_search(tmp_path / "none", "demo")

    assert str(caught.value) == f"no search of the name 'demo' under {tmp_path / 'none'}"


def test_searches_are_listed_by_name_and_number(tmp_path: Path) -> None:
    """Folders without a journal, and the store beside them, are no searches."""
    for name, number in (("b", 1), ("a", 10), ("a", 9)):
        record(tmp_path, name, number)
    (tmp_path / "a" / "11").mkdir()
    (tmp_path / "mlflow.db").write_text("")

    listed = [str(path.relative_to(tmp_path)) for path in storage.list_searches(tmp_path)]

    assert listed == ["a/9", "a/10", "b/1"]
    assert storage.list_searches(tmp_path / "none") == []
