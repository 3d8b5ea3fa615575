"""Whole trips through the command line: real Ray, real MLflow, real processes."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Orchestrate = Callable[..., "Said"]
Start = Callable[..., "subprocess.Popen[str]"]

RAY = """
import sys, ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """An empty storage."""
    return tmp_path / "runs"


@pytest.fixture
def environment(storage: Path) -> dict[str, str]:
    """Of a user without a cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "ORCHESTRATOR_"))}
    return {**kept, "ORCHESTRATOR_STORAGE": str(storage), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def orchestrate(environment: dict[str, str], tmp_path: Path) -> Orchestrate:
    """Run a command to its end, in an empty folder."""

    def call(*arguments: str, **variables: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Start:
    """Start a command in a process group of its own, as a shell does."""

    def call(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=tmp_path,
            # SIGABRT lets it say where each of its threads is.
            env={**environment, "PYTHONFAULTHANDLER": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    return call


@contextmanager
def running(
    program: str, *arguments: str, **variables: str
) -> Iterator["subprocess.Popen[str]"]:
    """A program that starts a Ray of its own, whose end is the end of its standard input."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CUDA_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**kept, **variables},
    )
    assert process.stdin is not None
    yield process
    process.stdin.close()
    process.wait(60)


def answer_of(process: "subprocess.Popen[str]") -> str:
    """The next line that a program says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture(scope="session")
def running_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray that runs on, whoever joins it."""
    # Short: Unix sockets live below it.
    with running(RAY, str(tmp_path_factory.getbasetemp() / "r")) as process:
        address = answer_of(process)
        assert address
        yield address


@pytest.fixture
def small_spec(tmp_path: Path) -> str:
    """Two values of label smoothing, two seeds, three epochs."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\n"
        "data: {dataset: digits, train_size: 200, label_noise: 0.2}\n"
        "model: {architecture: small_cnn}\n"
        "loss: {label_smoothing: {grid: [0, 0.4]}}\n"
        "schedule: {name: one_cycle}\n"
        "training: {epochs: 3}\n"
        "search: {seeds: 2}\n"
    )
    return str(path)


def mlflow_runs(storage: Path) -> dict[str, str]:
    """Name of every run in the store, to its status."""
    with sqlite3.connect(storage / "mlflow.db") as connection:
        return dict(connection.execute("SELECT name, status FROM runs"))


def processes_of(folder: str) -> list[str]:
    """Command lines of the living processes whose environment names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if folder.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if command]


def wait_for(happened: Callable[[], bool], *, timeout_s: float = 200) -> None:
    """Wait until something has happened in another process."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it has not happened within {timeout_s} s")
        time.sleep(0.1)


def wait_on(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
    """Wait until a command has done something; where it hangs, fail with what it does."""
    try:
        wait_for(happened)
    except TimeoutError as error:
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate(timeout=60)
        raise AssertionError(f"{error}\n{out[-3000:]}\n{err[-12000:]}") from error


def wait_for_text(path: Path, text: str) -> None:
    """Wait until a file holds a text, as another process writes it."""
    wait_for(lambda: path.exists() and text in path.read_text())


def interrupt(process: "subprocess.Popen[str]") -> None:
    """What Ctrl-C in a terminal does: SIGINT to the whole process group."""
    os.killpg(process.pid, signal.SIGINT)


def digests(text: str) -> dict[str, str]:
    """Run to SHA-256 of its final weights, from a journal's text."""
    pattern = r'"kind": "end".*?"run": "([^"]+)".*?"weights_sha256": "([0-9a-f]+)"'
    return dict(re.findall(pattern, text))
