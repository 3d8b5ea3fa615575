"""Files of the records: whole or not at all."""

from pathlib import Path

import pytest

from orchestrator.errors import InfeasibleError
from orchestrator.tracking.writing import write_whole


def test_a_file_is_written_beside_others_that_are_being_written(tmp_path: Path) -> None:
    """Nobody's half is overwritten or taken along, and none is left."""
    other = tmp_path / "receipt.part"
    other.write_text("half")

    write_whole(tmp_path / "new" / "receipt.json", "a")
    write_whole(tmp_path / "receipt.json", "b")

    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        *["receipt.json", "receipt.json", "receipt.part"]
    ]
    assert (tmp_path / "receipt.json").read_text() == "b"


def test_what_cannot_be_written_leaves_no_half(tmp_path: Path) -> None:
    """A folder is in the way: the file is named."""
    (tmp_path / "receipt.json").mkdir()

    with pytest.raises(InfeasibleError, match=r"^cannot write .*/receipt\.json \("):
        write_whole(tmp_path / "receipt.json", "a")

    assert [path.name for path in tmp_path.iterdir()] == ["receipt.json"]
