"""Files of an object store, on a pretend S3 and on a folder that is asked for as one."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.errors import InfeasibleError
from orchestrator.tracking import object_store
from orchestrator.tracking.object_store import ObjectStore


@pytest.fixture(params=["s3", "file"])
def store(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    folder = tmp_path / "store"
    return ObjectStore(f"{bucket}/lab" if request.param == "s3" else f"file://{folder}")


def test_what_was_put_is_listed_and_comes_back(store: ObjectStore, tmp_path: Path) -> None:
    """Byte for byte, by the same name; the later of two of one name counts."""
    (tmp_path / "first").write_bytes(b"\0first")
    store.put(tmp_path / "first", "a/b/file.bin")
    store.put_text("a/word", "old")
    store.put_text("a/word", "newer")

    assert store.list_files() == {"a/b/file.bin": 6, "a/word": 5}
    assert store.list_files("a/b") == {"a/b/file.bin": 6}
    assert store.list_names("a") == ["b", "word"]
    assert store.list_files("none") == {}
    assert store.list_names("none") == []
    assert store.find_sizes(["a/word", "a/none"]) == {"a/word": 5}
    assert store.read_text("a/word") == "newer"
    store.get_all({name: tmp_path / "back" / name for name in store.list_files()})
    assert (tmp_path / "back" / "a" / "b" / "file.bin").read_bytes() == b"\0first"


def test_what_is_gone_is_told(store: ObjectStore, tmp_path: Path) -> None:
    """Deleting it again is no mistake, reading it is one; nothing half-read is left."""
    store.put_text("word", "x")
    store.delete("word")
    store.delete("word")

    with pytest.raises(InfeasibleError, match=r"cannot read word from .*\(it is not there\)"):
        store.get("word", tmp_path / "back" / "word")
    assert list((tmp_path / "back").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        store.put(tmp_path / "none", "none")


def test_a_check_leaves_nothing(store: ObjectStore) -> None:
    """Written, read back, deleted."""
    store.check(writes=True)

    assert store.list_files() == {}


def test_ages_are_told_by_the_stores_clock(store: ObjectStore) -> None:
    """A file that was written just now is no older than the one it is measured by."""
    store.put_text("signs/a", "")
    store.put_text("signs/b", "")

    ages = store.find_ages("signs", now="signs/b")

    assert ages["signs/b"] == 0
    assert 0 <= ages["signs/a"] < 60


def test_a_wrong_bucket_is_refused_in_a_line(bucket: str) -> None:
    """At the check, and at the first file where nobody has checked: at once, in one line."""
    store = ObjectStore(f"{bucket}-none/lab")
    with pytest.raises(InfeasibleError) as refused:
        store.check(writes=False)

    assert str(refused.value) == (
        f"storage_path: cannot look into {bucket}-none/lab (there is no bucket "
        f"'{bucket.removeprefix('s3://')}-none'); look at its name, the endpoint "
        "(AWS_ENDPOINT_URL), the region (AWS_REGION) and the credentials"
    )
    with pytest.raises(InfeasibleError, match=r"\(NO_SUCH_BUCKET: The specified bucket does"):
        store.put_text("word", "x")


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.usefixtures("bucket")
def test_an_endpoint_that_is_not_there_is_refused() -> None:
    """Nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"s3://bucket/lab?endpoint_override=127.0.0.1:{port}&scheme=http"

    with pytest.raises(
        InfeasibleError, match=r"into s3://bucket/lab \(NETWORK_CONNECTION: Fai"
    ):
        ObjectStore(address).check(writes=True)


@pytest.mark.usefixtures("bucket")
def test_an_endpoint_that_says_nothing_is_given_up(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the network is broken, the check has an end."""
    monkeypatch.setattr(object_store, "_LOOK_S", 0.5)
    address = f"s3://bucket/lab?endpoint_override=127.0.0.1:{silent}&scheme=http"

    with pytest.raises(InfeasibleError, match=r"\(no answer within 0 s\)"):
        ObjectStore(address).check(writes=True)


def test_a_store_that_comes_back_is_written_after_all(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five attempts; between them it is waited."""
    store = ObjectStore(f"{bucket}/lab")
    store.check(writes=True)
    good = store._opened
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            store._opened = good

    monkeypatch.setattr(object_store.time, "sleep", wait)
    away = ObjectStore("s3://bucket?endpoint_override=127.0.0.1:9&scheme=http")
    store._opened = away._open()
    store.put_text("word", "x")

    assert waited == [1.0, 2.0, 4.0]
    assert store.read_text("word") == "x"


def test_nothing_heavy_is_loaded_before_it_is_needed(
    child_environment: Mapping[str, str],
) -> None:
    """Whoever has a folder never loads pyarrow, nor does a store that nobody asks."""
    code = (
        "import json, sys\n"
        "from orchestrator.tracking.bringing import open_storage\n"
        "from orchestrator.tracking.object_store import ObjectStore\n"
        "open_storage('/tmp'); ObjectStore('s3://bucket')\n"
        "heavy = {'pyarrow', 'torch', 'ray', 'mlflow'} & sys.modules.keys()\n"
        "print(json.dumps(sorted(heavy)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert json.loads(said.stdout) == []
