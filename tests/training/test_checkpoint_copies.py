"""Checkpoints that outlive a node's disk: another folder stands in for an object store."""

import shutil
from pathlib import Path

import pytest
import torch

from orchestrator.errors import TrainingError
from orchestrator.training.checkpoint_copies import CopiedFolder
from orchestrator.training.checkpoint_file import find_checkpoint, write_checkpoint
from orchestrator.training.context import Copies


def copies_in(store: Path) -> Copies:
    """Copies that lie in a folder, by the names of the files."""
    store.mkdir(exist_ok=True)

    def drop(path: Path) -> None:
        (store / path.name).unlink()

    def bring(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(store / path.name, path)

    return Copies(
        keep=lambda path: shutil.copy(path, store / path.name) and None,
        drop=drop,
        names=lambda _: [path.name for path in store.iterdir()],
        bring=bring,
    )


def write(folder: Path, step: int) -> Path:
    """A checkpoint that says which one it is."""
    return write_checkpoint(folder, {"step": torch.tensor(step)}, step=step)


def test_the_newest_copy_is_brought(tmp_path: Path) -> None:
    """And no other; what is no checkpoint is left alone."""
    store = tmp_path / "store"
    copies = copies_in(store)
    for step in (3, 10):
        copies.keep(write(tmp_path / "there", step))
    (store / "notes.txt").write_text("")

    CopiedFolder(tmp_path / "here", copies).bring_newest()

    assert [path.name[:13] for path in (tmp_path / "here").iterdir()] == ["step-00000010"]


def test_a_newer_one_of_this_disk_stays_and_is_copied(tmp_path: Path) -> None:
    """What could not be sent before the node died is sent now."""
    store = tmp_path / "store"
    copies = copies_in(store)
    copies.keep(write(tmp_path / "there", 3))
    mine = write(tmp_path / "here", 10)

    CopiedFolder(tmp_path / "here", copies).bring_newest()

    assert list((tmp_path / "here").iterdir()) == [mine]
    assert (store / mine.name).read_bytes() == mine.read_bytes()


def test_a_damaged_copy_is_passed_over(tmp_path: Path) -> None:
    """The one before it is brought, too, and found."""
    store = tmp_path / "store"
    copies = copies_in(store)
    good, bad = (write(tmp_path / "there", step) for step in (3, 10))
    copies.keep(good)
    copies.keep(bad)
    (store / bad.name).write_bytes(b"torn")

    CopiedFolder(tmp_path / "here", copies).bring_newest()

    found = find_checkpoint(tmp_path / "here")
    assert found.path == tmp_path / "here" / good.name
    assert found.damaged == (tmp_path / "here" / bad.name,)


def test_another_runs_copies_are_only_read(tmp_path: Path) -> None:
    """A run of more epochs begins with the last of one of fewer, and keeps its own."""
    store = tmp_path / "store"
    copies = copies_in(store)
    write(tmp_path / "here", 10)
    folder = CopiedFolder(tmp_path / "here", copies)

    folder.bring_newest(is_own=False)

    assert list(store.iterdir()) == []
    assert folder.add_elsewhere({}) == {}


def test_copies_of_other_nodes_are_counted_and_dropped(tmp_path: Path) -> None:
    """Else those that a node never had would stay for ever."""
    store = tmp_path / "store"
    copies = copies_in(store)
    old, new = (write(tmp_path / "there", step) for step in (3, 10))
    copies.keep(old)
    copies.keep(new)
    here = tmp_path / "here"
    folder = CopiedFolder(here, copies)
    folder.bring_newest()

    assert folder.add_elsewhere({10: [here / new.name]}) == {
        10: [here / new.name],
        3: [here / old.name],
    }
    folder.drop([here / old.name, here / "step-00000001-0000000000000000.pt"])
    assert [path.name for path in store.iterdir()] == [new.name]


def test_the_checkpoint_of_rank_0_comes_to_every_node(tmp_path: Path) -> None:
    """It is found on one disk and read on each."""
    copies = copies_in(tmp_path / "store")
    path = write(tmp_path / "there", 3)
    copies.keep(path)

    mine = CopiedFolder(tmp_path / "here", copies).bring(path)

    assert mine == tmp_path / "here" / path.name
    assert mine.read_bytes() == path.read_bytes()
    assert CopiedFolder(tmp_path / "here", None).bring(path) == path


def test_a_copy_that_goes_meanwhile_is_no_loss(tmp_path: Path) -> None:
    """Another worker has dropped it for a newer one: that is brought."""
    copies = copies_in(tmp_path / "store")
    old, new = (write(tmp_path / "there", step) for step in (3, 10))
    copies.keep(old)

    def bring(path: Path) -> None:
        if path.name == old.name:
            copies.keep(new)
            copies.drop(old)
            raise TrainingError("it is not there")
        copies.bring(path)

    moving = Copies(keep=copies.keep, drop=copies.drop, names=copies.names, bring=bring)
    CopiedFolder(tmp_path / "here", moving).bring_newest()

    assert [path.name for path in (tmp_path / "here").iterdir()] == [new.name]


def test_without_copies_nothing_is_looked_for(tmp_path: Path) -> None:
    """A folder that all nodes see needs none."""
    folder = CopiedFolder(tmp_path / "here", None)
    path = write(tmp_path / "here", 3)

    folder.bring_newest()
    folder.keep(path)
    folder.drop([path])

    assert list((tmp_path / "here").iterdir()) == [path]


def test_copies_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    """A checkpoint counts once it is there."""

    def refuse(_: Path) -> None:
        raise TrainingError("the store is gone")

    copies = copies_in(tmp_path / "store")
    broken = Copies(keep=refuse, drop=copies.drop, names=copies.names, bring=copies.bring)
    folder = CopiedFolder(tmp_path / "here", broken)

    with pytest.raises(TrainingError, match="the store is gone"):
        folder.keep(write(tmp_path / "here", 3))
    assert folder.add_elsewhere({}) == {}
