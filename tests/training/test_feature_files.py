"""Arrays on disk: rows where they belong, and folders whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InfeasibleError, SpecError
from orchestrator.training.feature_files import (
    RowWriter,
    check_output,
    create_arrays,
    finished_or_gone,
)


@pytest.mark.parametrize("shape", [(10,), (10, 3), (10, 2, 4, 5)])
@pytest.mark.parametrize(
    "shares", [[range(10)], [range(0, 10, 3), range(1, 10, 3), range(2, 10, 3)]]
)
def test_rows_land_at_their_numbers(
    tmp_path: Path, shape: tuple[int, ...], shares: list[range]
) -> None:
    """Written in one piece, or every third row by each of three writers, by turns."""
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    create_arrays(tmp_path, {"a.npy": shape})

    for share in shares:
        writer = RowWriter(tmp_path / "a.npy")
        rows = np.array(share)
        for part in np.array_split(rows, 2):
            writer.write(part, values[part])
        writer.close()

    found = np.load(tmp_path / "a.npy")
    assert found.dtype == np.float32
    assert (found == values).all()


def test_rows_that_lie_otherwise_in_memory_are_written_in_order(tmp_path: Path) -> None:
    """A transposed array, as channels-last networks give them."""
    values = np.arange(24, dtype=np.float32).reshape(2, 4, 3).transpose(0, 2, 1)
    create_arrays(tmp_path, {"a.npy": (2, 3, 4)})

    RowWriter(tmp_path / "a.npy").write(np.array([0, 1]), values)

    assert (np.load(tmp_path / "a.npy") == values).all()


def test_a_row_of_another_shape_is_our_mistake(tmp_path: Path) -> None:
    """It would be written over its neighbours."""
    create_arrays(tmp_path, {"a.npy": (2, 3)})

    with pytest.raises(AssertionError):
        RowWriter(tmp_path / "a.npy").write(np.array([0]), np.zeros((1, 4), np.float32))


def test_more_than_the_disk_holds_is_refused_before_anything(tmp_path: Path) -> None:
    """The size needed and the size left, in one line."""
    with pytest.raises(InfeasibleError, match=r"^--out: the features take 4\d+\.\d GiB, the "):
        create_arrays(tmp_path, {"a.npy": (10**10, 12), "b.npy": (2,)})

    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_its_name_at_the_end(tmp_path: Path) -> None:
    """Until then there is no such folder; parents are made."""
    out = tmp_path / "deep" / "features"

    with finished_or_gone(out) as folder:
        (folder / "x").write_text("1")
        assert not out.exists()

    assert [path.name for path in out.iterdir()] == ["x"]
    assert [path.name for path in out.parent.iterdir()] == ["features"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Neither half a folder nor the folders that were made around it."""
    with (
        pytest.raises(error),
        finished_or_gone(tmp_path / "deep" / "features") as folder,
        (folder / "x").open("w"),
    ):
        raise error

    assert list(tmp_path.iterdir()) == []


def test_what_came_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """Somebody else's folder of the same name stays as it is."""
    out = tmp_path / "features"

    def be_late() -> None:
        with finished_or_gone(out) as folder:
            (folder / "mine").write_text("1")
            out.mkdir()
            (out / "theirs").write_text("2")

    with pytest.raises(SpecError, match="is not empty"):
        be_late()

    assert [path.name for path in tmp_path.rglob("*")] == ["features", "theirs"]


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    """It takes the features."""
    out = tmp_path / "features"
    out.mkdir()
    check_output(out)

    with finished_or_gone(out) as folder:
        (folder / "x").write_text("1")

    assert [path.name for path in out.iterdir()] == ["x"]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    """So is a file; a folder that cannot be made is the machine's fault."""
    (tmp_path / "file").write_text("1")

    with pytest.raises(SpecError, match=r"^--out: .* is not empty; name another folder$"):
        check_output(tmp_path)
    with pytest.raises(SpecError, match=r"^--out: .*file is no folder; name another$"):
        check_output(tmp_path / "file")
    with (
        pytest.raises(InfeasibleError, match=r"^--out: cannot write to .*file/x \("),
        finished_or_gone(tmp_path / "file" / "x"),
    ):
        pass
