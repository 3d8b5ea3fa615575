"""Every image read once: what cannot be, what is there twice, for every kind of data set."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TrainingError
from orchestrator.planning.run_plan import Place
from orchestrator.planning.section_plans import DataPlan
from orchestrator.training.data.checking import CheckedImage, DataCheck, Shape, check_data_set

MakePlan = Callable[..., DataPlan]
MakePlace = Callable[..., Place]
Check = Callable[..., DataCheck]

OWN = """
import numpy as np

class Part:
    def __init__(self, labels, broken=()):
        self.targets, self.broken = labels, broken

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, row):
        if row in self.broken:
            raise OSError("disk on fire")
        return np.full((4 + row, 6), row, dtype=np.uint8), self.targets[row]

def make(test=False, broken=()):
    parts = {"train": Part([0, 1, 1], broken), "val": Part([1, 0])}
    return parts | {"test": Part([0])} if test else parts
"""


@pytest.fixture
def check(make_plan: MakePlan, make_place: MakePlace, tmp_path: Path) -> Check:
    """Checks the test's folder, or what else is named."""

    def run(
        *, root: Path | None = None, progress: object = None, **changes: object
    ) -> DataCheck:
        values: dict[str, Any] = {"dataset": "image_folder", "channels": 3, **changes}
        folder = "" if ":" in values["dataset"] else str(root or tmp_path / "data")
        place = make_place(data_root=folder, sources=str(tmp_path))
        return check_data_set(make_plan(**values), place, progress=progress)  # type: ignore[arg-type]

    return run


def test_every_part_is_read(check: Check, write_folder: Callable[..., Path]) -> None:
    """Test images too; broken files keep their place in the counts, and have no size."""
    root = write_folder()
    (root / "a" / "3.png").write_bytes(b"")
    (root / "b" / "0.png").write_bytes(b"x")
    told: list[tuple[int, int]] = []

    found = check(test_share=0.25, progress=lambda done, total: told.append((done, total)))

    assert found.classes == ("a", "b")
    assert found.counts == {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
    assert found.kind == "files"
    assert found.shapes == {Shape(width=12, height=10): 14}
    assert sorted((image.name, reason) for image, reason in found.unreadable) == [
        (f"{root}/a/3.png", "empty file"),
        (f"{root}/b/0.png", "no known kind of image"),
    ]
    assert told == sorted(told)
    assert told[-1] == (16, 16)


def test_copies_are_told_by_content(check: Check, write_folder: Callable[..., Path]) -> None:
    """Equal files under other names; a different file of the same length is none of them."""
    root = write_folder()
    for part in ("train", "val"):
        (root / part).mkdir()
    shutil.copytree(root / "a", root / "train" / "a")
    shutil.move(root / "a", root / "val" / "a")
    shutil.copytree(root / "b", root / "train" / "b")
    shutil.move(root / "b", root / "val" / "b")
    for number in range(1, 8):
        (root / "val" / "a" / f"{number}.png").unlink()
        (root / "val" / "b" / f"{number}.png").unlink()
    (root / "val" / "b" / "0.png").unlink()
    shutil.copy(root / "train" / "b" / "5.png", root / "train" / "a" / "five.png")
    same_length = bytearray((root / "train" / "a" / "0.png").read_bytes())
    same_length[-1] ^= 1
    (root / "val" / "b" / "bent.png").write_bytes(same_length)

    found = check()

    def image(part: str, kind: str, name: str) -> CheckedImage:
        return CheckedImage(part, kind, f"{root}/{part}/{kind}/{name}")

    leak = (image("train", "a", "0.png"), image("val", "a", "0.png"))
    clash = (image("train", "a", "five.png"), image("train", "b", "5.png"))
    assert set(found.copies) == {leak, clash}
    assert found.leaks == (leak,)
    assert found.contradictions == (clash,)


def test_empty_files_are_no_copies(check: Check, write_folder: Callable[..., Path]) -> None:
    """They are unreadable, each for itself; there is nothing in them to be the same."""
    root = write_folder()
    for name in ("a/0.png", "a/1.png", "b/2.png"):
        (root / name).write_bytes(b"")

    found = check()

    assert found.copies == ()
    assert len(found.unreadable) == 3


def test_only_the_classes_that_are_kept_are_read(
    check: Check, write_folder: Callable[..., Path], write_image: Callable[..., Path]
) -> None:
    """A broken file of another class harms nobody; the counts follow the order asked for."""
    root = write_folder()
    write_image("c/0.png")
    (root / "c" / "0.png").write_bytes(b"")

    found = check(classes=("b", "a"))

    assert found.classes == ("b", "a")
    assert found.unreadable == ()
    assert found.counts["train"] == (6, 6)


def test_a_table_is_read_by_its_own_parts(
    check: Check, write_image: Callable[..., Path]
) -> None:
    """Each file that it names, in the part that it says."""
    rows = ["path,label,split"]
    for number, part in enumerate(("train", "train", "val", "test")):
        for kind in "ab":
            file = write_image(f"{kind}{number}.png", seed=number + 10 * (kind == "b"))
            rows.append(f"{file.name},{kind},{part}")
    table = file.parent / "table.csv"
    table.write_text("\n".join(rows))
    (table.parent / "b3.png").write_bytes(b"?")

    found = check(dataset="table", root=table)

    assert found.counts == {"train": (2, 2), "val": (1, 1), "test": (1, 1)}
    assert found.unreadable == (
        (CheckedImage("test", "b", f"{table.parent}/b3.png"), "no known kind of image"),
    )


@pytest.mark.parametrize(
    ("dataset", "kind", "parts"), [("digits", "memory", 3), ("synthetic", "items", 2)]
)
def test_what_has_no_files_is_counted_and_measured(
    check: Check, dataset: str, kind: str, parts: int
) -> None:
    """In memory, or made up image by image."""
    found = check(dataset=dataset, channels=1, num_classes=10)

    assert (found.kind, len(found.counts)) == (kind, parts)
    assert len(found.shapes) == 1
    assert sum(found.shapes.values()) == sum(map(sum, found.counts.values()))
    assert (found.unreadable, found.copies) == ((), ())


@pytest.mark.parametrize("test", [True, False])
def test_ones_own_data_set_is_asked_for_every_item(
    check: Check, tmp_path: Path, *, test: bool
) -> None:
    """With a test part or without; what its code raises is the reason."""
    name = f"checked_{test}"
    (tmp_path / f"{name}.py").write_text(OWN)
    told: list[tuple[int, int]] = []

    found = check(
        dataset=f"{name}:make",
        channels=1,
        arguments={"test": test, "broken": [2]},
        progress=lambda done, total: told.append((done, total)),
    )

    sums = {"train": (1, 2), "val": (1, 1)} | ({"test": (1, 0)} if test else {})
    assert (found.kind, found.counts) == ("items", sums)
    assert found.unreadable == (
        (CheckedImage("train", "1", f"{name}:make train[2]"), "fails (OSError: disk on fire)"),
    )
    total = 5 + test
    assert told == [(done, total) for done in range(1, total + 1)]
    assert found.shapes[Shape(width=6, height=4)] == 2 + test


def test_data_that_is_not_there_is_refused(check: Check, tmp_path: Path) -> None:
    """In one line, before anything is read."""
    with pytest.raises(TrainingError, match=r"^data\.root: no such folder \(.*/nowhere\)$"):
        check(root=tmp_path / "nowhere")
