"""`fetch` as it is typed, with a web server of this machine in place of the internet."""

import gzip
import hashlib
import shutil
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.cli.fetch import word_bytes
from orchestrator.cli.main import run_command_line
from orchestrator.preparation.fetching import list_weights
from orchestrator.specs.load import load_spec
from orchestrator.training.model.torchvision_weights import hub_folder, load_torchvision_weights

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")

SPEC = """\
name: nets
data: {dataset: digits}
model: {architecture: squeezenet1_1, weights: DEFAULT}
training: {epochs: 1}
"""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it can be fetched from."""
    folder = tmp_path_factory.mktemp("internet")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hub(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch hub's folder, still missing, in a folder with an experiment."""
    monkeypatch.setenv("TORCH_HOME", str(here / "hub"))
    # What is not on this machine is not reached, wherever the tests run.
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Path("nets.yaml").write_text(SPEC)
    return hub_folder()


@pytest.fixture
def weights(
    hub: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """Weights that can be fetched: their file's name, and the file that is served."""
    assert hub
    folder, address = served
    plain = folder / "weights"
    torch.save(models.squeezenet1_1().state_dict(), plain)
    name = f"squeezenet1_1-{hashlib.sha256(plain.read_bytes()).hexdigest()[:8]}.pth"
    kept = plain.rename(folder / name)
    # torchvision's address alone is another one.
    known = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(known, "url", address + name)
    return name, kept


def test_weights_are_fetched_once_and_found_without_a_network(
    weights: tuple[str, Path], hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where they lie and how large they are; then nothing is asked of the network any more."""
    name, kept = weights
    size = word_bytes(kept.stat().st_size)

    assert run_command_line(["fetch", "nets.yaml"]) == 0
    line = f"weights of squeezenet1_1, DEFAULT  {size}  {hub / name}"
    again = "for another machine, copy them to the same places\n"
    assert capsys.readouterr().out == f"{line}  fetched\n{again}"

    kept.unlink()
    assert run_command_line(["fetch", "nets.yaml"]) == 0
    assert capsys.readouterr().out == f"{line}  was there\n{again}"
    assert load_torchvision_weights("squeezenet1_1", "DEFAULT").keys() == (
        models.squeezenet1_1().state_dict().keys()
    )


def test_without_a_network_it_says_what_to_put_where(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Address and folder in one line, status 3."""
    assert run_command_line(["fetch", "nets.yaml"]) == 3

    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "model.weights: cannot fetch "
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth (URLError: "
    )
    assert error.endswith(f"); get it where there is a network, and put it into {hub}")


def test_a_file_that_was_put_there_is_looked_at(
    weights: tuple[str, Path], hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole one will do; half of one, or others under its name, are refused: status 3."""
    name, kept = weights
    content = kept.read_bytes()
    kept.unlink()
    hub.mkdir(parents=True)

    (hub / name).write_bytes(content)
    assert run_command_line(["fetch", "nets.yaml"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("  was there")

    (hub / name).write_bytes(content[: len(content) // 2])
    assert run_command_line(["fetch", "nets.yaml"]) == 3
    assert f"model.weights: {hub / name} is damaged (" in capsys.readouterr().err

    torch.save(models.squeezenet1_1().state_dict(), hub / name)
    assert run_command_line(["fetch", "nets.yaml"]) == 3
    assert capsys.readouterr().err == (
        f"model.weights: {hub / name} is damaged (its SHA-256 does not begin with "
        f"{name[14:22]}); delete it, fetch anew\n"
    )


def test_every_network_of_a_search_is_asked_for(here: Path) -> None:
    """Each pair once, and none for settings that take a file or nothing."""
    assert here.is_dir()
    Path("nets.yaml").write_text(SPEC)

    def pairs(*overrides: str) -> list[tuple[str, str]]:
        return list_weights(load_spec("nets.yaml", overrides))

    assert pairs() == [("squeezenet1_1", "DEFAULT")]
    assert pairs(
        "model.architecture={grid: [resnet18, resnet50]}",
        "model.weights={grid: [IMAGENET1K_V1, DEFAULT]}",
        "loss.label_smoothing={grid: [0, 0.1]}",
    ) == [
        ("resnet18", "IMAGENET1K_V1"),
        ("resnet18", "DEFAULT"),
        ("resnet50", "IMAGENET1K_V1"),
        ("resnet50", "DEFAULT"),
    ]
    assert pairs("model.weights=mine.safetensors") == []
    assert pairs("model.weights=null") == []


def write_mnist(folder: Path) -> list[tuple[str, str]]:
    """The four files of MNIST, of a few grey images; their names and MD5 digests."""
    found = []
    for part, count in (("train", 20), ("t10k", 10)):
        images = np.arange(count * 784, dtype=np.uint8).tobytes()
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        for name, content in (
            (f"{part}-images-idx3-ubyte", struct.pack(">IIII", 2051, count, 28, 28) + images),
            (f"{part}-labels-idx1-ubyte", struct.pack(">II", 2049, count) + labels),
        ):
            packed = gzip.compress(content, mtime=0)
            (folder / f"{name}.gz").write_bytes(packed)
            found.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    return found


def test_a_data_set_is_fetched_where_it_may_be(
    hub: Path,
    served: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All parts of it; afterwards it is read without a network and without leave to fetch."""
    assert hub
    folder, address = served
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    monkeypatch.setattr(datasets.MNIST, "resources", write_mnist(folder))
    Path("m.yaml").write_text(
        "name: m\n"
        "data: {dataset: mnist, root: here/data}\n"
        "model: {architecture: small_cnn}\n"
        "training: {epochs: 1}\n"
    )
    root = Path.cwd() / "here" / "data"

    assert run_command_line(["fetch", "m.yaml"]) == 0
    assert capsys.readouterr().out == (
        f"not fetched: data set mnist, which is to lie in {root}; "
        "data.download=true would fetch it\n"
    )
    assert not root.exists()

    assert run_command_line(["fetch", "m.yaml", "data.download=true"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("data set mnist  ")
    assert line.endswith(f"  {root}")

    shutil.rmtree(folder)
    assert run_command_line(["check-data", "m.yaml"]) == 0
    assert "mnist in " in capsys.readouterr().out
    assert run_command_line(["fetch", "m.yaml", "data.download=true"]) == 0


def test_a_data_set_that_is_fetched_by_hand_is_not_promised(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is to lie, and no advice that would be refused."""
    assert hub
    data = "data={dataset: imagenet, root: data}"

    assert run_command_line(["fetch", "nets.yaml", data, "model.weights=null"]) == 0
    assert capsys.readouterr().out == (
        f"not fetched: data set imagenet, which is to lie in {Path.cwd() / 'data'}; "
        "torchvision cannot fetch it, its page on imagenet says where it is had\n"
    )


def test_a_data_set_that_cannot_be_fetched_names_the_address(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Address, folder and what to do, in one line; status 3. So does training's own message."""
    assert hub
    data = "data={dataset: cifar10, root: data, download: true}"
    root = Path.cwd() / "data"

    assert run_command_line(["fetch", "nets.yaml", data, "model.weights=null"]) == 3

    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "data.download: cifar10 (train) cannot be fetched from "
        f"https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz to {root} (URLError: "
    )
    assert error.endswith(
        "run 'orchestrator fetch SPEC' where there is a network, and copy it here"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nts.yaml"], 2, "nts.yaml: no such file"),
        (["nets.yaml", "model.weights=IMAGENET1K_V9"], 2, "torchvision has no 'IMAGENET1K_V9'"),
        (["nets.yaml", "model.wieghts=DEFAULT"], 2, "model.wieghts: no such key; did you mean"),
        (["nets.yaml", "data={dataset: imagenet, root: d, download: true}",
          "model.weights=null"], 2, "torchvision cannot fetch imagenet: put it into"),
    ],
)  # fmt: skip
def test_typing_errors_are_one_line_each(
    arguments: list[str],
    status: int,
    message: str,
    hub: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the place of the key."""
    assert hub
    assert run_command_line(["fetch", *arguments]) == status

    said = capsys.readouterr()
    assert message in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_an_experiment_that_needs_nothing_says_so(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights, and data that is here."""
    assert run_command_line(["fetch", "nets.yaml", "model.weights=null"]) == 0
    assert capsys.readouterr().out == "nets.yaml: takes nothing from the internet\n"
    assert not hub.exists()


def test_sizes_are_worded_in_decimal_units() -> None:
    """As downloads are counted."""
    sizes = (0, 999, 1000, 44_661_000, 2_300_000_000)
    assert [word_bytes(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "44.7 MB",
        "2.3 GB",
    ]
