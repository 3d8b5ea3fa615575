"""Files of weights: whole or not there, readable everywhere, and never run."""

import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.model.weights_file import read_tensors, write_weights


class Touches:
    """An object whose unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle writes in its place."""
        return Path.touch, (self.marker,)


class Tied(nn.Module):
    """One weight under two names, and a buffer that is a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("row", self.first.weight.detach()[1])


@pytest.fixture
def safetensors() -> Any:
    """The package, where it is installed."""
    return pytest.importorskip("safetensors", reason="safetensors is not installed")


def test_weights_are_read_as_they_were_written(safetensors: Any, tmp_path: Path) -> None:
    """Every parameter and buffer to the bit, whatever its layout, and the header's text."""
    model = SmallCNN(channels=3, num_classes=4)
    model(torch.rand(4, 3, 8, 8))
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    path = tmp_path / "last.safetensors"

    write_weights(
        model.to(memory_format=torch.channels_last).state_dict(), path, {"run": "a/1/b"}
    )

    found = read_tensors(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert all(found[name].dtype == value.dtype for name, value in expected.items())
    with safetensors.safe_open(str(path), framework="pt") as file:
        assert file.metadata() == {"run": "a/1/b"}


def test_shared_tensors_are_written_under_every_name(safetensors: Any, tmp_path: Path) -> None:
    """A reader that knows nothing of the sharing finds what it looks for."""
    assert safetensors
    model = Tied()
    path = tmp_path / "tied.safetensors"

    write_weights(model.state_dict(), path, {})

    found = read_tensors(path)
    assert found.keys() == model.state_dict().keys()
    assert torch.equal(found["second.weight"], model.first.weight)
    assert torch.equal(found["row"], model.first.weight[1])


def test_a_file_is_replaced_whole_or_not_at_all(safetensors: Any, tmp_path: Path) -> None:
    """A failed write leaves the old file and nothing beside it."""
    assert safetensors
    path = tmp_path / "last.safetensors"
    write_weights(nn.Linear(2, 2).state_dict(), path, {})
    before = path.read_bytes()

    with pytest.raises(TypeError):
        write_weights(nn.Linear(9, 9).state_dict(), path, {"epoch": 3})  # type: ignore[dict-item]

    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.safetensors"]


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    """A pickled object may do anything when it is read."""
    path = tmp_path / "trap.pth"
    marker = tmp_path / "was-run"
    torch.save({"weight": torch.ones(2), "trap": Touches(marker)}, path)

    message = (
        rf"^model\.weights: {re.escape(str(path))} holds more than tensors, and code in a file "
        r"is not run \(.*\); save the network's state_dict\(\) alone$"
    )
    with pytest.raises(TrainingError, match=message) as caught:
        read_tensors(path)

    assert not marker.exists()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pth", None, "there is no file {path}"),
        (
            "a.onnx",
            b"x",
            "{path} is neither .safetensors nor .pth or .pt; save the network's st",
        ),
        ("cut.pth", b"PK\x03\x04 half", "{path} cannot be read (RuntimeError: "),
        ("empty.pt", b"", "{path} cannot be read (EOFError: "),
    ],
)
def test_files_that_are_no_weights_are_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """Each with what is wrong with it."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    expected = re.escape(f"model.weights: {message.replace('{path}', str(path))}")
    with pytest.raises(TrainingError, match=f"^{expected}"):
        read_tensors(path)


def test_a_cut_safetensors_file_is_refused(safetensors: Any, tmp_path: Path) -> None:
    """Its header promises more than there is."""
    assert safetensors
    path = tmp_path / "cut.safetensors"
    write_weights(nn.Linear(8, 8).state_dict(), path, {})
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(TrainingError, match=r"cut\.safetensors is no safetensors file \("):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"epoch": 3, "lr": 0.1}, "'epoch', 'lr'"),
        ([torch.ones(2)], "a list"),
        ({"model": {"layers": 4}}, "'layers'"),
    ],
)
def test_files_without_named_tensors_say_what_they_hold(
    tmp_path: Path, content: Any, what: str
) -> None:
    """So that the right part can be saved."""
    path = tmp_path / "other.pth"
    torch.save(content, path)

    with pytest.raises(TrainingError, match=rf"holds no tensors by name \(it holds {what}\)"):
        read_tensors(path)


def test_weights_of_a_gpu_are_read_on_a_cpu(tmp_path: Path) -> None:
    """The file names the device that it was saved on, which this machine need not have."""
    saved, path = tmp_path / "cpu.pth", tmp_path / "cuda.pth"
    torch.save({"weight": torch.arange(6.0)}, saved)
    # What torch.save writes for a GPU's tensor differs in this name alone.
    with zipfile.ZipFile(saved) as here, zipfile.ZipFile(path, "w") as there:
        for entry in here.namelist():
            text = here.read(entry)
            there.writestr(entry, text.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:7"))
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path)

    found = read_tensors(path)

    assert found["weight"].device.type == "cpu"
    assert torch.equal(found["weight"], torch.arange(6.0))


def test_a_missing_safetensors_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that mends it."""
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)

    message = (
        r"^model\.weights: files of weights need safetensors \(.*\); pip install safetensors$"
    )
    with pytest.raises(TrainingError, match=message):
        write_weights(nn.Linear(2, 2).state_dict(), tmp_path / "last.safetensors", {})
