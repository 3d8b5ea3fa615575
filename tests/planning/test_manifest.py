"""Manifests: files found, put in order, digested, split."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.planning.manifest import Entry, scan_image_folder, split_manifest

WriteFiles = Callable[..., Path]


@pytest.fixture
def write_files(tmp_path: Path) -> WriteFiles:
    """Writes files of the paths given, each holding its own path."""

    def write(*paths: str, root: str = "data") -> Path:
        for path in paths:
            file = tmp_path / root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)
        return tmp_path / root

    return write


def refusal(root: Path) -> str:
    """The line with which a folder is refused."""
    with pytest.raises(SpecError) as caught:
        scan_image_folder(root)
    (line,) = caught.value.mistakes
    return line


def test_a_folder_is_a_class(write_files: WriteFiles) -> None:
    """Classes go by name, entries by path; what is no image or hidden is passed over."""
    root = write_files(
        "dog/b.JPG",
        "dog/deep/er/a.png",
        "cat/1.webp",
        "cat/notes.txt",
        "cat/.x.png",
        ".git/c.png",
    )
    (root / "readme.md").write_text("no class")

    manifest = scan_image_folder(root)

    assert manifest.root == str(root)
    assert manifest.classes == ("cat", "dog")
    assert manifest.entries == (
        Entry("cat/1.webp", 0, "", "", 10),
        Entry("dog/b.JPG", 1, "", "", 9),
        Entry("dog/deep/er/a.png", 1, "", "", 17),
    )


def test_a_link_to_nothing_is_listed(write_files: WriteFiles) -> None:
    """Whoever reads it names it; links to files are the files."""
    root = write_files("cat/1.png", "dog/2.png")
    (root / "cat" / "3.png").symlink_to("../dog/2.png")
    (root / "dog" / "4.png").symlink_to("nowhere.png")

    assert scan_image_folder(root).entries == (
        Entry("cat/1.png", 0, "", "", 9),
        Entry("cat/3.png", 0, "", "", 9),
        Entry("dog/2.png", 1, "", "", 9),
        Entry("dog/4.png", 1, "", "", 0),
    )


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_folders_of_parts_hold_folders_of_classes(write_files: WriteFiles, word: str) -> None:
    """train, val and test are parts; a class may be missing from all but the first."""
    root = write_files("train/a/1.png", "train/b/2.png", f"{word}/a/3.png", "test/b/4.png")

    manifest = scan_image_folder(root)

    assert manifest.classes == ("a", "b")
    assert {(entry.path, entry.label, entry.split) for entry in manifest.entries} == {
        ("train/a/1.png", 0, "train"),
        ("train/b/2.png", 1, "train"),
        (f"{word}/a/3.png", 0, "val"),
        ("test/b/4.png", 1, "test"),
    }


def test_a_class_may_be_called_train(write_files: WriteFiles) -> None:
    """Beside planes and cars a train is something to see."""
    root = write_files("train/1.png", "plane/2.png", "car/3.png")

    assert scan_image_folder(root).classes == ("car", "plane", "train")


def test_parts_beside_classes_are_refused(write_files: WriteFiles) -> None:
    """Neither reading could be meant."""
    root = write_files("train/a/1.png", "val/a/2.png", "extra/3.png")

    assert refusal(root) == (
        "data.root: folders of parts (train, val) stand beside others (extra); "
        "move one kind away"
    )


def test_no_folder_is_refused(tmp_path: Path) -> None:
    """The path is named."""
    assert refusal(tmp_path / "none") == f"data.root: no such folder ({tmp_path / 'none'})"


def test_too_few_classes_are_refused(write_files: WriteFiles, tmp_path: Path) -> None:
    """None, and one alone, leave nothing to tell apart."""
    (tmp_path / "empty").mkdir()
    root = write_files("only/1.png")

    needs = "needs images of two classes or more"
    assert refusal(tmp_path / "empty") == f"data.root: no class in {tmp_path}/empty; {needs}"
    assert refusal(root) == f"data.root: only the class 'only' in {root}; {needs}"


@pytest.mark.parametrize("paths", [("b/notes.txt",), ("b/notes.txt", "c/x.raw")])
def test_a_class_without_images_is_refused(
    write_files: WriteFiles, paths: tuple[str, ...]
) -> None:
    """The class, how many more there are, and what would have been an image."""
    root = write_files("a/1.png", *paths)
    who = "class 'b' has" if len(paths) == 1 else "class 'b' and 1 more classes have"

    assert refusal(root) == (
        f"data.root: {who} no image to train on in {root}; images end in "
        ".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    )


def test_a_class_that_is_only_validated_on_is_refused(write_files: WriteFiles) -> None:
    """Nothing could ever have said it."""
    root = write_files("train/a/1.png", "train/b/1.png", "val/c/1.png")

    assert refusal(root).startswith("data.root: class 'c' has no image to train on")


def test_the_digest_is_of_what_can_change_a_number(write_files: WriteFiles) -> None:
    """Not of where the folder lies or when it was copied; of names and sizes it is."""
    files = ("a/1.png", "b/2.png")
    here, there = write_files(*files, root="here"), write_files(*files, root="there")
    os.utime(there / "a/1.png", (1, 1))
    renamed = write_files("a/1.png", "b/3.png", root="renamed")
    grown = write_files(*files, root="grown")
    (grown / "a/1.png").write_text("longer than it was")

    digest = scan_image_folder(here).digest

    assert scan_image_folder(there).digest == digest
    assert scan_image_folder(renamed).digest != digest
    assert scan_image_folder(grown).digest != digest


def test_the_digest_can_be_worked_by_hand(write_files: WriteFiles) -> None:
    """No release may change it: classes, then a line for each file."""
    root = write_files("train/a/1.png", "train/b/2.png")

    text = "a\0b\ntrain/a/1.png\x000\0train\0\x0013\ntrain/b/2.png\x001\0train\0\x0013"
    assert scan_image_folder(root).digest == hashlib.sha256(text.encode()).hexdigest()


def test_given_parts_are_kept(write_files: WriteFiles) -> None:
    """Shares cut what the data has not, and nothing else."""
    names = [f"train/{kind}/{number}.png" for kind in "ab" for number in range(10)]
    root = write_files(*names, "val/a/x.png", "val/b/x.png")
    manifest = scan_image_folder(root)

    parts = split_manifest(manifest, 0.5, 0.2)

    assert [manifest.entries[position].path for position in parts["val"]] == [
        "val/a/x.png",
        "val/b/x.png",
    ]
    # 20 % of the 20 that are to be trained on, two of each class.
    assert [manifest.entries[position].label for position in parts["test"]] == [0, 0, 1, 1]
    assert len(parts["train"]) == 16
    assert sorted(sum(parts.values(), ())) == list(range(22))


def test_nothing_to_validate_on_is_refused(write_files: WriteFiles) -> None:
    """A share of so few that it rounds to none."""
    manifest = scan_image_folder(write_files("a/1.png", "b/2.png"))

    with pytest.raises(SpecError, match=r"^data\.val_share: leaves no image of 2 to validate"):
        split_manifest(manifest, 0.1, 0.0)


def test_a_class_with_nothing_left_to_train_on_is_refused(write_files: WriteFiles) -> None:
    """Half of two single images is one class's only one."""
    manifest = scan_image_folder(write_files("a/1.png", "b/2.png"))

    with pytest.raises(SpecError, match=r"class '[ab]' has no image to train on, once"):
        split_manifest(manifest, 0.5, 0.0)
