"""Whether a node can work on an object store."""

from pathlib import Path

from orchestrator.launch.everywhere import marked, try_store
from orchestrator.tracking.object_store import ObjectStore


def test_a_node_writes_and_sees_what_the_driver_wrote(bucket: str) -> None:
    """Nothing is said where all is well, and nothing is left."""
    with marked(f"{bucket}/lab") as mark:
        assert try_store(f"{bucket}/lab", mark) == ""

    assert ObjectStore(f"{bucket}/lab").list_files() == {}


def test_another_store_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    """A disk of its own, where the driver meant one that is shared."""
    said = try_store(f"file://{tmp_path}/disk", ".seen-by-the-driver")

    assert said == "it does not see what the driver writes there"


def test_why_a_node_cannot_is_told(bucket: str) -> None:
    """In the words of the check, or of the address."""
    assert try_store(f"{bucket}-none/lab", "mark").startswith("storage_path: cannot look into ")
    assert try_store("ftp://host/lab", "mark").startswith("no such object storage")
