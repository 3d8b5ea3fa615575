"""Tables: columns, paths, splits and groups, and every way to get one of them wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.planning.manifest import Entry, split_manifest
from orchestrator.planning.table import scan_table

WriteTable = Callable[[str], Path]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Writes a table beside four files, `a.png` to `d.png` of one to four bytes."""
    (tmp_path / "images").mkdir()
    for size, name in enumerate("abcd", start=1):
        (tmp_path / "images" / f"{name}.png").write_bytes(bytes(size))

    def write(text: str) -> Path:
        table = tmp_path / "table.csv"
        table.write_text(text)
        return table

    return write


PLAIN = "path,label\nimages/a.png,cat\nimages/b.png,dog\nimages/c.png,cat\nimages/d.png,dog\n"


@pytest.mark.parametrize("other", ["images/../images/a.png", "{folder}/images/a.png"])
def test_two_ways_to_write_a_path_name_one_file(
    write_table: WriteTable, tmp_path: Path, other: str
) -> None:
    """`a.png`, `./a.png` and its absolute path."""
    with pytest.raises(SpecError, match=r"names 'images/a.png' twice"):
        scan_table(write_table(f"{PLAIN}{other.format(folder=tmp_path)},cat\n"))


def test_paths_are_relative_to_the_table(write_table: WriteTable, tmp_path: Path) -> None:
    """Classes go by name, files by path, with their sizes."""
    manifest = scan_table(write_table(PLAIN))

    assert manifest.root == str(tmp_path)
    assert manifest.classes == ("cat", "dog")
    assert manifest.entries == (
        Entry("images/a.png", 0, "", "", 1),
        Entry("images/b.png", 1, "", "", 2),
        Entry("images/c.png", 0, "", "", 3),
        Entry("images/d.png", 1, "", "", 4),
    )


def test_columns_may_stand_in_any_order(write_table: WriteTable) -> None:
    """Spaces, quotes, empty lines and a byte order mark are what spreadsheets write."""
    table = write_table(
        "\ufeffgroup, split,label,path\n"
        'g1,train,"a, b",images/a.png\n'
        "\n"
        "g1,train,c,images/b.png\n"
        "g2,val,c,images/c.png\n"
    )

    manifest = scan_table(table)

    assert manifest.classes == ("a, b", "c")
    assert manifest.entries[0] == Entry("images/a.png", 0, "train", "g1", 1)
    assert split_manifest(manifest, 0.9, 0.0) == {"train": (0, 1), "val": (2,), "test": ()}


def test_groups_are_kept_whole_by_a_cut(write_table: WriteTable) -> None:
    """Two groups of both classes: one is trained on, one validated on."""
    rows = ["x", "y", "x", "y"]
    text = "path,label,group\n" + "".join(
        f"images/{name}.png,{label},{group}\n"
        for name, label, group in zip("abcd", "1122", rows, strict=True)
    )

    parts = split_manifest(scan_table(write_table(text)), 0.5, 0.0)

    assert sorted([parts["train"], parts["val"]]) == [(0, 2), (1, 3)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("file,label\n", "column 'path' is missing (got file, label)"),
        ("", "column 'path' is missing (got )"),
        (
            "path,label,fold\n",
            "column 'fold' is unknown; there are path, label, split, group",
        ),
        (
            "path,label,label\n",
            "column 'label' is there twice; there are path, label, split, group",
        ),
        ("path,label\nimages/a.png\n", "line 2 has 1 columns, the header 2"),
        ("path,label\nimages/a.png,\n", "line 2 has no label"),
        (
            "path,label,split\nimages/a.png,cat,dev\n",
            "line 2: no split 'dev'; one of train, val, test",
        ),
        (
            "path,label\nimages/a.png,cat\nimages/a.png,dog\n",
            "names 'images/a.png' twice",
        ),
        (
            "path,label,split\nimages/a.png,cat,train\nimages/b.png,dog,\n",
            "1 of 2 rows have no split; give all or none",
        ),
        (
            "path,label,split,group\nimages/a.png,cat,train,p\nimages/b.png,cat,val,p\n",
            "group 'p' is in train and in val; keep it on one side",
        ),
        (
            "path,label,split\nimages/a.png,cat,train\nimages/b.png,dog,val\n",
            "class 'dog' has no image to train on",
        ),
        (
            "path,label\na.png,x\nimages/a.png,y\nb.png,x\nc.png,x\nd.png,x\n",
            "4 of 5 files are not there, such as a.png, b.png, c.png",
        ),
    ],
)
def test_what_is_wrong_is_said(write_table: WriteTable, text: str, line: str) -> None:
    """The table, what it says, and what would be right."""
    table = write_table(text)

    with pytest.raises(SpecError) as caught:
        scan_table(table)

    assert caught.value.mistakes == (f"data.root: {table}: {line}",)


def test_no_table_is_refused(tmp_path: Path) -> None:
    """The path is named, and why it cannot be read."""
    with pytest.raises(
        SpecError, match=r"^data\.root: .*none\.csv: cannot be read \(.*No such"
    ):
        scan_table(tmp_path / "none.csv")


def test_a_table_of_one_class_is_refused(write_table: WriteTable) -> None:
    """There is nothing to tell apart."""
    table = write_table("path,label\nimages/a.png,cat\n")

    with pytest.raises(SpecError, match=r"^data\.root: only the class 'cat' in .*two classes"):
        scan_table(table)
