"""Torchvision's sets: found by name, split, and read from files as they come."""

import inspect
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.specs.names import FETCHED_BY_HAND, WITHOUT_FILES
from orchestrator.training.data.build import build_data
from orchestrator.training.data.checking import check_data_set
from orchestrator.training.data.torchvision_sets import SETS

MakePlan = Callable[..., DataPlan]
MakePlace = Callable[..., Place]


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_asked_in_its_own_words(name: str) -> None:
    """The class exists, and its constructor takes what selects a part, a loader, a download."""
    kind = SETS[name]
    make = getattr(datasets, kind.name)
    taken = inspect.signature(make.__init__).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())

    wanted = {"root", *(key for given in kind.parts.values() for key in given)}
    wanted |= {"loader"} if kind.by_path else set()
    wanted |= {"download"} if kind.download else set()
    assert make.__name__.lower() == name
    assert open_ended or wanted <= taken.keys()
    assert "train" in kind.parts


@pytest.mark.parametrize("name", SETS)
def test_the_spec_knows_which_sets_have_files_and_which_can_be_fetched(name: str) -> None:
    """Caching and unreadable files mean nothing where there is no file per image."""
    finder = SETS[name].find.__qualname__

    assert (name in WITHOUT_FILES) is finder.startswith(("_in_memory", "_by_item"))
    assert (name in FETCHED_BY_HAND) is not SETS[name].download


@pytest.mark.parametrize("name", sorted(set(SETS) - {"pcam", "stanfordcars"}))
def test_files_that_are_not_there_are_asked_for(
    make_plan: MakePlan, make_place: MakePlace, tmp_path: Path, name: str
) -> None:
    """Which set, in which folder, and how to get it."""
    root = tmp_path / "nothing"

    with pytest.raises(TrainingError) as caught:
        build_data(make_plan(dataset=name), make_place(data_root=str(root)), seed=0)

    line = str(caught.value)
    advice = "set data.download: true" if SETS[name].download else "put it into"
    assert line.startswith(f"data.root: {name} (")
    assert f" is not in {root} (" in line
    assert advice in line
    assert "\n" not in line


def write_mnist(root: Path, *, train: int = 40, test: int = 10) -> dict[str, np.ndarray]:
    """MNIST's files with noise for digits; image n has the label n % 10."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    written = {}
    for part, word, size in (("train", "train", train), ("test", "t10k", test)):
        images = np.random.default_rng(size).integers(0, 256, (size, 28, 28), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        header = struct.pack(">IIII", 0x803, size, 28, 28)
        (folder / f"{word}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 0x801, size)
        (folder / f"{word}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
        written[part] = images
    return written


def test_mnist_is_read_from_its_files(
    make_plan: MakePlan, make_place: MakePlace, tmp_path: Path
) -> None:
    """A quarter of the training part is validated on, each class alike; nothing twice."""
    written = write_mnist(tmp_path)
    place = make_place(data_root=str(tmp_path))

    data = build_data(make_plan(dataset="mnist", num_classes=10), place, seed=0)
    test = build_data(make_plan(dataset="mnist"), place, seed=0, parts=("test",)).test

    assert data.classes[3] == "3 - three"
    assert data.class_counts == (3,) * 10
    assert data.val.labels.bincount().tolist() == [1] * 10
    assert sorted(torch.cat([data.train.ids, data.val.ids]).tolist()) == list(range(40))
    for part in (data.train, data.val):
        assert np.array_equal(part.images[:, 0].numpy(), written["train"][part.ids.numpy()])
    assert np.array_equal(test.images[:, 0].numpy(), written["test"])
    assert not set(test.ids.tolist()) & set(range(40))


def test_the_cut_is_the_same_whatever_is_asked_for(
    make_plan: MakePlan, make_place: MakePlace, tmp_path: Path
) -> None:
    """For every seed, and for one part alone: no validation image is ever trained on."""
    write_mnist(tmp_path)
    plan, place = make_plan(dataset="mnist"), make_place(data_root=str(tmp_path))

    both = build_data(plan, place, seed=0)
    alone = {
        part: build_data(plan, place, seed=5, parts=(part,)).parts[part].ids
        for part in ("train", "val")
    }

    assert torch.equal(alone["train"], both.train.ids)
    assert torch.equal(alone["val"], both.val.ids)


def test_grey_sets_feed_networks_that_take_colour(
    make_plan: MakePlan, make_place: MakePlace, tmp_path: Path
) -> None:
    """Three times the same."""
    write_mnist(tmp_path)
    plan = make_plan(dataset="mnist", channels=3)

    images = build_data(plan, make_place(data_root=str(tmp_path)), seed=0).train.images

    assert images.shape == (30, 3, 28, 28)
    assert torch.equal(images[:, 0], images[:, 2])


def test_cifar_is_read_from_its_batches(
    make_plan: MakePlan, make_place: MakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of 3,072 bytes, planes one after another; and in grey for networks that take it."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    names = [f"data_batch_{number}" for number in range(1, 6)]
    for number, name in enumerate([*names, "test_batch"]):
        part = slice(10 * number, 10 * number + 10)
        content = {"data": rows[part], "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(content))
    labels = {"label_names": list("abcdefghij")}
    (folder / "batches.meta").write_bytes(pickle.dumps(labels))
    # The real files' digests are not those of noise.
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    place = make_place(data_root=str(tmp_path))

    colour = build_data(make_plan(dataset="cifar10", channels=3), place, seed=0)
    grey = build_data(make_plan(dataset="cifar10", channels=1), place, seed=0)

    expected = rows.reshape(60, 3, 32, 32)
    assert colour.classes == tuple("abcdefghij")
    assert np.array_equal(colour.train.images.numpy(), expected[colour.train.ids.numpy()])
    first = Image.fromarray(colour.train.images[0].permute(1, 2, 0).numpy()).convert("L")
    assert np.array_equal(grey.train.images[0, 0].numpy(), np.asarray(first))


def test_sets_of_files_go_the_way_of_files(
    make_plan: MakePlan, make_place: MakePlace, write_image: Callable[..., Path], tmp_path: Path
) -> None:
    """EuroSAT in one piece: cut in three, decoded by us, a broken file named by a check."""
    for number in range(10):
        for name in ("Forest", "River"):
            write_image(f"eurosat/2750/{name}/{name}_{number}.jpg", seed=number)
    plan = make_plan(dataset="eurosat", channels=3, val_share=0.2, test_share=0.1)
    place = make_place(data_root=str(tmp_path / "data"))

    data = build_data(plan, place, seed=0, parts=("train", "val", "test"))

    assert data.classes == ("Forest", "River")
    assert [len(data.parts[part]) for part in ("train", "val", "test")] == [14, 4, 2]
    assert data.class_counts == (7, 7)
    assert data.train.images.shape == (14, 3, 10, 12)
    assert check_data_set(plan, place).unreadable == ()
    broken = tmp_path / "data/eurosat/2750/River/River_3.jpg"
    broken.write_bytes(b"")
    unreadable = check_data_set(plan, place).unreadable
    assert [(image.name, reason) for image, reason in unreadable] == [
        (str(broken), "empty file")
    ]


def test_a_part_that_is_nowhere_is_refused(
    make_plan: MakePlan, make_place: MakePlace, write_image: Callable[..., Path], tmp_path: Path
) -> None:
    """EuroSAT has no test part, and no share is set aside for one."""
    for name in ("Forest", "River"):
        for number in range(4):
            write_image(f"eurosat/2750/{name}/{number}.jpg", seed=number)
    place = make_place(data_root=str(tmp_path / "data"))

    with pytest.raises(TrainingError) as caught:
        build_data(make_plan(dataset="eurosat"), place, seed=0, parts=("test",))

    assert str(caught.value) == (
        "data.test_share: eurosat has no test part; set a share for it"
    )
