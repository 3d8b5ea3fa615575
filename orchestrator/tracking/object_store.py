"""Files of one storage in an object store, such as S3: put, got, listed and deleted.

pyarrow is imported by the first call. An object is there whole or not
at all; there are no locks and no appends, so that whatever needs those lies on a disk.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from orchestrator.errors import InfeasibleError
from orchestrator.tracking.object_connection import connect, word_error

_Answer = TypeVar("_Answer")
_FINAL: Final = ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT")
"""How the errors begin that the next attempt would meet again."""
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
"""Between the attempts at one file."""
_LOOK_S: Final = 60.0
"""How long the first look may take, whoever answers or does not."""
_AT_ONCE: Final = 8
"""Files that travel at a time."""
_BLOCK: Final = 1 << 22


class ObjectStore:
    """The files of one storage, by names relative to its address, parted by `/`.

    Several threads may use it at a time.

    Args:
        address: As `specs.addresses.check_address` returns it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._opened: tuple[Any, str] | None = None
        self._opening = threading.Lock()

    def put(self, file: Path, name: str) -> None:
        """Copy a file there, in place of what has its name; it appears in one step.

        Raises:
            InfeasibleError: It cannot be written, after five attempts in 15 seconds.
            FileNotFoundError: There is no such file here.
        """
        if not file.is_file():
            raise FileNotFoundError(file)

        def pour(out: Any) -> None:  # noqa: ANN401  pyarrow has no types
            with file.open("rb") as source:
                while block := source.read(_BLOCK):
                    out.write(block)

        self._try(lambda: self._write(name, pour), f"write {name} to")

    def put_text(self, name: str, text: str) -> None:
        """Write a small file; errors as for `put`."""
        self._try(lambda: self._write_text(name, text), f"write {name} to")

    def get(self, name: str, file: Path) -> None:
        """Copy a file from there; it appears in one step, its folder is made.

        Raises:
            InfeasibleError: It cannot be read there, or be written here.
        """
        self._look(lambda: self._read(name, file), f"read {name} from")

    def read_text(self, name: str) -> str:
        """What a small file holds; errors as for `get`."""
        fs, base = self._open()

        def read() -> str:
            with fs.open_input_stream(f"{base}/{name}") as stream:
                text: str = stream.read().decode()
                return text

        return self._look(read, f"read {name} from")

    def get_all(self, files: Mapping[str, Path]) -> None:
        """Copy several files from there, some at a time; errors as for `get`."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.get, files.keys(), files.values()))

    def list_files(self, folder: str = "") -> dict[str, int]:
        """Every file in a folder and below it, by its name, to its size in bytes."""
        return {
            self._name_of(info): info.size
            for info in self._list(folder, recursive=True)
            if info.is_file
        }

    def list_names(self, folder: str = "") -> list[str]:
        """What lies in a folder, files and folders, without their paths."""
        return sorted({info.base_name for info in self._list(folder, recursive=False)})

    def find_sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Those of some files that are there, to their sizes in bytes."""
        fs, base = self._open()
        paths = [f"{base}/{name}" for name in names]
        infos = self._try(lambda: fs.get_file_info(paths), "look into") if paths else []
        return {self._name_of(info): info.size for info in infos if info.is_file}

    def find_ages(self, folder: str, *, now: str) -> dict[str, float]:
        """A folder's files to how many seconds before one of them, `now`, each was written."""
        infos = [info for info in self._list(folder, recursive=True) if info.is_file]
        times = {self._name_of(info): info.mtime for info in infos}
        return {name: (times[now] - time).total_seconds() for name, time in times.items()}

    def delete(self, name: str) -> None:
        """Remove a file; one that is gone is no mistake."""
        fs, base = self._open()
        with suppress(FileNotFoundError):
            self._try(lambda: fs.delete_file(f"{base}/{name}"), f"delete {name} from")

    def check(self, *, writes: bool) -> None:
        """Refuse a store that does not answer as it should; nothing is left behind.

        Args:
            writes: Whether it shall be written to, too.

        Raises:
            InfeasibleError: Within a minute.
        """
        failures: list[Exception] = []

        def look() -> None:
            try:
                self._check(writes=writes)
            except Exception as error:  # noqa: BLE001  raised again below, by who waits
                failures.append(error)

        # No library keeps its own limits of time under every fault of a network.
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        looking.join(_LOOK_S)
        if looking.is_alive():
            raise self._refuse("look into", f"no answer within {_LOOK_S:.0f} s")
        for failure in failures:
            raise failure

    def _check(self, *, writes: bool) -> None:
        fs, base = self._open()
        bucket = base.partition("/")[0]
        if bucket:
            self._check_bucket(fs, bucket)
        if writes:
            name, text = f".seen-{uuid4().hex}", uuid4().hex
            self._try(lambda: self._write_text(name, text), "write to", pauses=())
            came_back = self.read_text(name) == text
            self.delete(name)
            if not came_back:
                raise self._refuse("write to", "what comes back is something else")

    def _check_bucket(self, fs: Any, bucket: str) -> None:  # noqa: ANN401
        try:
            info = self._try(lambda: fs.get_file_info(bucket), "look into", pauses=())
        except InfeasibleError as error:
            # Whoever may use a part of a bucket need not see the whole of it.
            if "ACCESS_DENIED" not in str(error):
                raise
            return
        if info.type.name == "NotFound":
            raise self._refuse("look into", f"there is no bucket {bucket!r}")

    def _open(self) -> tuple[Any, str]:
        """The file system, and the path of the storage in it."""
        with self._opening:
            if self._opened is None:
                self._opened = self._try(lambda: connect(self.address), "look into", pauses=())
            return self._opened

    def _write_text(self, name: str, text: str) -> None:
        self._write(name, lambda out: out.write(text.encode()))

    def _write(self, name: str, write: Callable[[Any], object]) -> None:
        fs, base = self._open()
        path = f"{base}/{name}"
        if fs.type_name == "local":
            # Such a file would be seen while it is written.
            fs.create_dir(path.rpartition("/")[0], recursive=True)
            path = f"{path}.{uuid4().hex[:8]}.part"
        with fs.open_output_stream(path) as out:
            write(out)
        if fs.type_name == "local":
            fs.move(path, f"{base}/{name}")

    def _read(self, name: str, file: Path) -> None:
        fs, base = self._open()
        unfinished = file.with_name(f"{file.name}.{uuid4().hex[:8]}.part")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fs.open_input_stream(f"{base}/{name}") as stream, unfinished.open("wb") as out:
                while block := stream.read(_BLOCK):
                    out.write(block)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)

    def _look(self, read: Callable[[], _Answer], what: str) -> _Answer:
        try:
            return self._try(read, what)
        except FileNotFoundError as error:
            raise self._refuse(what, "it is not there") from error

    def _list(self, folder: str, *, recursive: bool) -> list[Any]:
        from pyarrow.fs import FileSelector

        fs, base = self._open()
        path = f"{base}/{folder}" if folder else base
        selector = FileSelector(path, recursive=recursive, allow_not_found=True)
        found: list[Any] = self._try(lambda: fs.get_file_info(selector), "list")
        return found

    def _name_of(self, info: Any) -> str:  # noqa: ANN401
        name: str = info.path.removeprefix(f"{self._open()[1]}/")
        return name

    def _try(
        self,
        action: Callable[[], _Answer],
        what: str,
        *,
        pauses: tuple[float, ...] = _PAUSES_S,
    ) -> _Answer:
        """Do it, and again where the store fails; what is not there is not looked for again."""
        for pause in (*pauses, None):
            try:
                return action()
            except FileNotFoundError:
                raise
            except (ImportError, OSError, ValueError) as error:
                why = word_error(error)
                # The disk's errors have numbers, those of a network here have none.
                if pause is None or getattr(error, "errno", None) or why.startswith(_FINAL):
                    raise self._refuse(what, why) from error
                time.sleep(pause)
        raise AssertionError(what)

    def _refuse(self, what: str, why: str) -> InfeasibleError:
        return InfeasibleError(
            f"storage_path: cannot {what} {self.address.partition('?')[0]} ({why}); look at "
            "its name, the endpoint (AWS_ENDPOINT_URL), the region (AWS_REGION) and the "
            "credentials"
        )
