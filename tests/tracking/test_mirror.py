"""Working copies of one store on two machines: what each sees of what the other did."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import InfeasibleError
from orchestrator.tracking import journal, mirror, storage
from orchestrator.tracking.bringing import open_storage
from orchestrator.tracking.finished import FinishedRuns
from orchestrator.tracking.history import read_search
from orchestrator.tracking.links import link_run
from orchestrator.tracking.object_store import ObjectStore
from orchestrator.tracking.owner import describe_owner, is_in_reach, own
from orchestrator.tracking.sending import UNSENT, send_left, sending
from tests.tracking.conftest import MakeSearch, Search

Machine = Callable[[str], Path]


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Of a store without a network."""
    return f"file://{tmp_path}/store"


@pytest.fixture
def on(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go to a machine: the working copy there, as a command that writes opens it."""

    def go(name: str) -> Path:
        monkeypatch.setenv("ORCHESTRATOR_WORK", str(tmp_path / name))
        return open_storage(address, writes=True)

    return go


def record(make_search: MakeSearch, copy: Path, *, number: int = 1) -> Search:
    """A search of four runs, the first of which has left its weights, whole in the store."""
    search = make_search(storage=copy, number=storage.claim_number(copy, "demo"))
    assert search.plan.number == number
    with own(search.folder), sending(search.folder):
        search.begin()
        search.train(0, 0.5, 0.75)
        search.keep_weights(0)
        search.close("finished")
    return search


def test_an_address_has_a_working_copy(on: Machine, address: str, tmp_path: Path) -> None:
    """A folder of this machine that says whose copy it is, and stays the same one."""
    copy = on("one")

    assert copy.is_relative_to(tmp_path / "one")
    assert mirror.address_of(copy) == address
    assert on("one") == copy
    assert mirror.copy_id(on("two")) != mirror.copy_id(copy)
    assert mirror.address_of(tmp_path) == mirror.copy_id(tmp_path) == ""
    assert on("one") == open_storage(str(copy)) == copy


def test_another_machine_sees_a_search(on: Machine, make_search: MakeSearch) -> None:
    """Its record and its files; what it has left comes when it is asked for."""
    first = record(make_search, on("one"))
    copy = on("two")
    there = copy / "demo" / "1"
    run = there / first.folder.joinpath(first.run_ids[0]).name

    assert read_search(there).runs == read_search(first.folder).runs
    assert [path.name for path in there.iterdir()] == [journal.FILE_NAME]
    assert mirror.is_kept(run / "last.safetensors")
    assert not mirror.is_kept(run / "best.safetensors")
    fingerprint = first.plan.runs[0].fingerprint
    found = FinishedRuns(copy).find(fingerprint)
    assert found is not None
    assert found.run_id == first.run_ids[0]


def test_what_a_run_has_left_is_that_of_its_last_training(
    on: Machine, make_search: MakeSearch
) -> None:
    """Files of the same size that an earlier attempt has left here are not taken for it."""
    first = record(make_search, on("one"))
    run = Path(first.plan.runs[0].place.folder)
    store = mirror.open_store(mirror.address_of(first.folder.parents[1]))
    name = "/".join(run.parts[-3:])
    store.put_text(f"{name}/{mirror.WHOLE}", "token")
    elsewhere = on("two") / name
    elsewhere.mkdir(parents=True)
    (elsewhere / "last.safetensors").write_bytes(b"another")

    assert mirror.bring_run(elsewhere) == elsewhere
    assert (elsewhere / "last.safetensors").read_bytes() == b"weights"
    assert (elsewhere / mirror.WHOLE).read_text() == "token"
    assert mirror.bring_run(run.parents[3]) == run.parents[3]


def test_a_number_is_given_once(on: Machine) -> None:
    """Machines take turns, and a number of which nothing was recorded is gone, too."""
    first, second = on("one"), on("two")

    numbers = [storage.claim_number(copy, "demo") for copy in (first, second, first)]

    assert numbers == [1, 2, 3]
    assert not (second / "demo" / "1").exists()
    assert storage.next_number(on("three"), "demo") == 4


def test_numbers_at_the_same_moment(on: Machine) -> None:
    """Of many claims on two machines at once, no two come to the same number."""
    copies = [on("one"), on("two")]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(
            pool.map(lambda i: storage.claim_number(copies[i % 2], "demo"), range(24))
        )

    assert len({*numbers}) == 24


def test_of_two_journals_the_longer_counts(on: Machine, make_search: MakeSearch) -> None:
    """What was written here and is not in the store is kept, and sent by the next command."""
    search = record(make_search, on("one"))
    known = (search.folder / journal.FILE_NAME).read_bytes()
    search.begin()
    (search.folder / UNSENT).touch()

    on("one")

    longer = (search.folder / journal.FILE_NAME).read_bytes()
    assert longer.startswith(known)
    assert len(longer) > len(known)
    assert not (search.folder / UNSENT).exists()
    assert (on("two") / "demo" / "1" / journal.FILE_NAME).read_bytes() == longer


def test_who_went_on_elsewhere_is_right(on: Machine, make_search: MakeSearch) -> None:
    """What this machine had not sent before another went on is put aside, not lost."""
    search = record(make_search, on("one"))
    elsewhere = make_search(storage=on("two"))
    with own(elsewhere.folder), sending(elsewhere.folder):
        elsewhere.begin(python="3.12")
        elsewhere.train(1, 0.5)
    mine = (search.folder / journal.FILE_NAME).read_bytes() + b'{"kind": "mine"}\n'
    (search.folder / journal.FILE_NAME).write_bytes(mine)
    (search.folder / UNSENT).touch()

    on("one")

    theirs = (elsewhere.folder / journal.FILE_NAME).read_bytes()
    assert (search.folder / journal.FILE_NAME).read_bytes() == theirs
    (aside,) = search.folder.glob("journal.before-*.jsonl")
    assert aside.read_bytes() == mine


def test_a_reused_run_is_a_link_elsewhere_too(on: Machine, make_search: MakeSearch) -> None:
    """Its files are those of the run that was trained, brought on demand."""
    first = record(make_search, on("one"))
    second = make_search(storage=on("one"), number=storage.claim_number(on("one"), "demo"))
    with own(second.folder), sending(second.folder):
        second.begin()
        link_run(Path(second.plan.runs[0].place.folder), Path(first.plan.runs[0].place.folder))
        second.note(0, "reused", run_id=first.run_ids[0], history=[{"val/accuracy": 0.5}])
        second.end(0, "finished", metrics={"val/accuracy": 0.5})
    link = on("two") / "/".join(Path(second.plan.runs[0].place.folder).parts[-3:])

    assert link.is_symlink()
    assert mirror.is_kept(link / "last.safetensors")
    assert mirror.bring_run(link).parts[-2:] == Path(first.plan.runs[0].place.folder).parts[-2:]


def test_a_search_is_driven_by_one_machine(on: Machine, make_search: MakeSearch) -> None:
    """Another is refused with the name of the first, and may go on once that has ended."""
    search = record(make_search, on("one"))
    there = on("two") / "demo" / "1"

    with sending(search.folder):
        host = describe_owner()["host"]
        with (
            pytest.raises(
                InfeasibleError, match=rf"demo#1: a process on {host} drives it, see"
            ),
            sending(there),
        ):
            pass
    with sending(there):
        assert (there / UNSENT).exists()
    assert not (there / UNSENT).exists()


def test_a_driver_that_has_ended_holds_nobody_up(
    on: Machine, make_search: MakeSearch, address: str
) -> None:
    """A process of this boot that is gone has left a sign of life; it is removed."""
    search = record(make_search, on("one"))
    owner = {**describe_owner(), "pid": 2**22 + 1}
    text = str(owner).replace("'", '"')
    store = ObjectStore(address)
    store.put_text("demo/1/.drivers/left", text)

    with sending(search.folder):
        assert "left" not in store.list_names("demo/1/.drivers")


def test_who_comes_too_late_begins_again(on: Machine, make_search: MakeSearch) -> None:
    """A journal that has grown elsewhere since it was brought is not overwritten."""
    search = record(make_search, on("one"))
    there = on("two") / "demo" / "1"
    with own(search.folder), sending(search.folder):
        search.begin()

    refused = pytest.raises(InfeasibleError, match="demo#1: another machine went on with it ju")
    with refused, sending(there):
        pass


def test_a_store_that_is_lost_loses_nothing(
    on: Machine, make_search: MakeSearch, address: str, tmp_path: Path
) -> None:
    """The end says where all of it is; a later command sends it, run folders too."""
    search = make_search(storage=on("one"), number=storage.claim_number(on("one"), "demo"))
    store = tmp_path / "store"
    kept = Path(search.plan.runs[0].place.folder)

    def lose_it() -> None:
        with own(search.folder), sending(search.folder):
            search.begin()
            search.train(0, 0.5)
            search.keep_weights(0)
            (kept / "checkpoints").mkdir()
            (kept / "checkpoints" / "step-00000001-0.pt").write_bytes(b"state")
            store.rename(tmp_path / "away")
            store.write_text("no folder")

    with pytest.raises(
        InfeasibleError, match=r"nothing is lost: all of it is in .*resume demo#1"
    ):
        lose_it()
    store.unlink()
    (tmp_path / "away").rename(store)
    send_left(search.folder)

    names = ObjectStore(address).list_files("demo/1")
    run = "/".join(kept.parts[-3:])
    assert {f"{run}/last.safetensors", f"{run}/checkpoints/step-00000001-0.pt"} <= names.keys()
    assert "demo/1/journal.jsonl" in names
    assert "demo/1/owner.lock" not in names


def test_an_emptied_store_is_another_one(
    on: Machine, make_search: MakeSearch, tmp_path: Path
) -> None:
    """What lay under the address before is not taken for what is there now."""
    before = record(make_search, on("one")).folder.parents[1]
    shutil.rmtree(tmp_path / "store")

    copy = on("one")

    assert copy != before
    assert storage.list_searches(copy) == []


def test_the_lock_tells_of_its_own_copy_alone(on: Machine) -> None:
    """A search that another working copy drives is nobody's orphan here."""
    owner = describe_owner(mirror.copy_id(on("one")))

    assert is_in_reach(owner, mirror.copy_id(on("one")))
    assert not is_in_reach(owner, mirror.copy_id(on("two")))
    assert not is_in_reach(owner)
    assert not is_in_reach(describe_owner(), mirror.copy_id(on("two")))


def test_what_is_no_address_is_refused() -> None:
    """In one line, as a storage."""
    with pytest.raises(InfeasibleError, match="storage_path: no such object storage"):
        open_storage("ftp://host/lab")
