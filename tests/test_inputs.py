"""What is read before planning: images, weights, the user's own code."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.errors import RecordError, SpecError
from orchestrator.inputs import Surroundings, read_surroundings
from orchestrator.sources import copy_sources
from orchestrator.specs.load import load_spec
from orchestrator.tracking.lookup import FoundRun

Read = Callable[..., Surroundings]

SMALLEST = """\
name: x
data: {dataset: digits}
model: {architecture: small_cnn}
training: {epochs: 1}
"""


def nothing(name: str) -> FoundRun:
    """No run is recorded."""
    raise RecordError(f"no run {name!r}")


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads what the smallest experiment with these overrides starts from, in its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(SMALLEST)

    def read_with(*overrides: str, find_run: Any = nothing) -> Surroundings:
        return read_surroundings(load_spec("x.yaml", overrides), find_run)

    return read_with


def make_images(folder: Path, **counts: int) -> None:
    """A folder per class with this many images."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (9, 9)).save(folder / name / f"{number}.png")


def test_digits_need_no_file(read: Read) -> None:
    """Nothing is read, and torch is not loaded for it."""
    around = read()

    assert around.inputs.data.train_size == 800
    assert (around.inputs.weights, around.sources, around.root) == ({}, {}, "")


def test_a_folder_is_counted(read: Read, tmp_path: Path) -> None:
    """A fifth of each class is validated on; the digest is that of names and sizes."""
    make_images(tmp_path / "pics", cat=10, dog=20, emu=5)

    whole = read("data.dataset=image_folder", "data.root=pics").inputs.data
    kept = read(
        "data.dataset=image_folder", "data.root=pics", "data.classes=[emu, cat]"
    ).inputs.data

    assert (whole.train_size, whole.num_classes, whole.image_size) == (28, 3, None)
    assert (kept.train_size, kept.num_classes) == (12, 2)
    assert whole.manifest == kept.manifest != ""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.root=nowhere"], "override 'data.root=nowhere': data.root: "),
        (
            ["data.root=pics", "data.classes=[cat, cow]"],
            "override 'data.classes=[cat, cow]': data.classes: there is no class 'cow'; "
            "there are 'cat', 'dog'",
        ),
    ],
)
def test_what_a_folder_does_not_have_is_named(
    read: Read, tmp_path: Path, overrides: list[str], message: str
) -> None:
    """With the place of the key that asks for it."""
    make_images(tmp_path / "pics", cat=4, dog=4)

    with pytest.raises(SpecError) as caught:
        read("data.dataset=image_folder", *overrides)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.val_share=0.3", "data.val_share: the data has a val part of its own; "),
        ("data.test_share=0.3", "data.test_share: the data has a test part of its own; "),
        ("data.classes=[cat, emu]", "data.classes: none of these has an image to validate on"),
    ],
)
def test_a_part_that_the_data_has_is_not_cut(
    read: Read, tmp_path: Path, override: str, message: str
) -> None:
    """A share would be accepted and ignored; a part must have images of the classes kept."""
    make_images(tmp_path / "pics" / "train", cat=4, dog=4, emu=4)
    make_images(tmp_path / "pics" / "val", dog=2)
    make_images(tmp_path / "pics" / "test", dog=2)

    with pytest.raises(SpecError) as caught:
        read("data.dataset=image_folder", "data.root=pics", override)

    assert str(caught.value).startswith(f"override '{override}': {message}")


def test_a_part_that_torchvisions_set_has_is_not_cut(read: Read) -> None:
    """Before its files are looked for."""
    pytest.importorskip("torchvision")

    with pytest.raises(SpecError) as caught:
        read("data={dataset: mnist, root: nowhere, test_share: 0.2}")

    assert "data.test_share: the data has a test part of its own; " in str(caught.value)


def write_eurosat(root: Path, *, side: int = 12) -> None:
    """Ten images of two classes, of this side in pixels."""
    for number in range(10):
        path = root / "eurosat" / "2750" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (number, 0, 0)).save(path)


def test_torchvisions_sets_are_known_by_their_files(read: Read, tmp_path: Path) -> None:
    """Wherever they lie; another file is another set."""
    pytest.importorskip("torchvision")
    for name, side in (("here", 12), ("there", 12), ("other", 13)):
        write_eurosat(tmp_path / name, side=side)

    here, there, other = (
        read(f"data={{dataset: eurosat, root: {name}, val_share: 0.2}}").inputs.data.manifest
        for name in ("here", "there", "other")
    )

    assert here == there != other
    assert len(here) == 64


DATA = """
import torch
from torch.utils.data import TensorDataset


def make(classes):
    part = TensorDataset(torch.zeros(6, 1, 8, 8), torch.tensor([0, 1, 2] * 2))
    return {"train": part, "val": part, "classes": classes}
"""


def test_too_few_names_of_classes_are_found_while_planning(read: Read, tmp_path: Path) -> None:
    """Before a number is taken."""
    (tmp_path / "data_of_mine.py").write_text(DATA)

    with pytest.raises(SpecError) as caught:
        read("data={dataset: 'data_of_mine:make', arguments: {classes: [a, b]}}")

    assert "data.dataset: the train part has labels from 0 to 2; needs 0 to 1" in str(
        caught.value
    )


def test_files_of_weights_are_digested(read: Read, tmp_path: Path) -> None:
    """Every file of a search; torchvision's names are no files."""
    (tmp_path / "a.pth").write_bytes(b"weights")

    found = read("model.weights={grid: [null, a.pth]}").inputs.weights

    (name,) = found
    assert found[name].path == str(tmp_path / "a.pth")
    assert found[name].sha256 == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.weights=b.pth", "model.weights: there is no file "),
        ("model.weights=run:b@best", "model.weights: no run 'b@best'"),
        ("model.rules=[{match: a, tensor: t.safetensors:k}]", "model.rules: there is no file "),
    ],
)
def test_weights_that_are_not_there_are_named(read: Read, override: str, message: str) -> None:
    """With the place of the key."""
    with pytest.raises(SpecError) as caught:
        read(override)

    assert str(caught.value).startswith(f"override '{override}': {message}")


CODE = "import part_of_mine\n\n\ndef loss(logits, targets):\n    return logits.sum()\n"


def test_own_code_is_found_with_what_it_imports(read: Read, tmp_path: Path) -> None:
    """Only files of the user's own; the digest changes with any of them."""
    (tmp_path / "code_of_mine.py").write_text(CODE)
    (tmp_path / "part_of_mine.py").write_text("VALUE = 1\n")
    (tmp_path / "unrelated.py").write_text("raise AssertionError\n")

    first = read("loss.name=code_of_mine:loss")
    (tmp_path / "part_of_mine.py").write_text("VALUE = 2\n")
    second = read("loss.name=code_of_mine:loss")
    copy_sources(second.sources, tmp_path / "kept")

    assert set(first.sources) == {"code_of_mine.py", "part_of_mine.py"}
    assert first.root == str(tmp_path)
    assert first.inputs.sources != second.inputs.sources
    assert (tmp_path / "kept" / "part_of_mine.py").read_text() == "VALUE = 2\n"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.name=nothing_like_it:loss", "loss.name: nothing_like_it cannot be imported"),
        ("loss.name=json:lods", "loss.name: json has no 'lods'; did you mean 'load"),
        ("loss.name=json:__name__", "loss.name: json:__name__ is not callable (str)"),
        (
            "data.transforms=[{nothing_like_it:a: {}}]",
            "data.transforms: nothing_like_it cannot",
        ),
    ],
)
def test_own_code_that_cannot_be_had_is_named(read: Read, override: str, message: str) -> None:
    """The key, the module, and what Python says."""
    with pytest.raises(SpecError) as caught:
        read(override)

    assert str(caught.value).startswith(f"override '{override}': {message}")


def test_own_code_lies_beside_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another file, elsewhere, extends that one."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "x.yaml").write_text(SMALLEST + "loss: {name: 'beside_base:loss'}\n")
    (tmp_path / "base" / "beside_base.py").write_text("def loss(logits, targets): ...\n")
    (tmp_path / "y.yaml").write_text("extends: base/x.yaml\nname: y\n")
    monkeypatch.chdir(tmp_path)

    around = read_surroundings(load_spec("y.yaml"), nothing)

    assert (list(around.sources), around.root) == (["beside_base.py"], str(tmp_path / "base"))


def test_own_modules_in_two_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the folders; where one holds both, that one is taken."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "x.yaml").write_text(SMALLEST + "loss: {name: 'in_base:loss'}\n")
    (tmp_path / "base" / "in_base.py").write_text("def loss(logits, targets): ...\n")
    (tmp_path / "in_top.py").write_text("def change(image): ...\n")
    (tmp_path / "y.yaml").write_text(
        "extends: base/x.yaml\ndata: {transforms: ['in_top:change']}\n"
    )
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SpecError) as caught:
        read_surroundings(load_spec("y.yaml"), nothing)
    (tmp_path / "in_base.py").write_text("def loss(logits, targets): ...\n")
    around = read_surroundings(load_spec("y.yaml"), nothing)

    assert "one's own modules must lie in one folder (found in_base in " in str(caught.value)
    assert (sorted(around.sources), around.root) == (["in_base.py", "in_top.py"], str(tmp_path))


def test_an_installed_module_counts_and_stays_where_it_is(
    read: Read, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on PYTHONPATH, say: its code is in the fingerprint, another's beside it is not."""
    library = tmp_path_factory.mktemp("library")
    (library / "installed_of_mine").mkdir(parents=True)
    (library / "installed_of_mine" / "__init__.py").write_text("from .part import loss\n")
    late = library / "installed_of_mine" / "late.py"
    part = library / "installed_of_mine" / "part.py"
    part.write_text("def loss(logits, targets):\n    return logits.sum()\n")
    monkeypatch.syspath_prepend(library)

    first = read("loss.name=installed_of_mine:loss")
    part.write_text("def loss(logits, targets):\n    return logits.mean()\n")
    second = read("loss.name=installed_of_mine:loss")
    late.write_text("# Imported by nobody yet.\n")
    third = read("loss.name=installed_of_mine:loss")

    assert (first.sources, first.root, first.inputs.sources) == ({}, "", "")
    found = [each.inputs.installed["installed_of_mine"] for each in (first, second, third)]
    assert len({"", *found}) == 4


def test_what_is_imported_later_travels_too(read: Read, tmp_path: Path) -> None:
    """An import within a function, and what that file imports."""
    (tmp_path / "late_of_mine.py").write_text(
        "def loss(logits, targets):\n    from deep.of_mine import x\n    return x\n"
    )
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "__init__.py").write_text("")
    (tmp_path / "deep" / "of_mine.py").write_text("import deeper_of_mine\nx = 1\n")
    (tmp_path / "deeper_of_mine.py").write_text("")

    found = read("loss.name=late_of_mine:loss").sources

    assert set(found) == {
        "late_of_mine.py",
        "deep/__init__.py",
        "deep/of_mine.py",
        "deeper_of_mine.py",
    }
