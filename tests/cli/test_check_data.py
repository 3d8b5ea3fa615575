"""`check-data` as it is typed: what it prints, and its exit status."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.main import run_command_line

WriteImages = Callable[..., Path]

SPEC = """\
name: small
data: {dataset: image_folder, root: photos, image_size: 16, batch_size: 4}
model: {architecture: small_cnn}
training: {epochs: 1}
"""
ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def root(write_images: WriteImages) -> Path:
    """Cats, dogs and an experiment on them."""
    Path("small.yaml").write_text(SPEC)
    return write_images({"cats": 10, "dogs": 5}, low=16, high=16)


def test_sound_data_is_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, and each line says what was looked at."""
    assert run_command_line(["check-data", "small.yaml"]) == 0

    said = capsys.readouterr()
    assert said.out == (
        f"image_folder in {root}: 15 images of 2 classes\n"
        "\n"
        "  class  train  val\n"
        "  ─────────────────\n"
        "  cats       8    2\n"
        "  dogs       4    1\n"
        "  all       12    3\n"
        "\n"
        "balance     cats has 2.0 times the training images of dogs\n"
        "sizes       all 16 x 16 pixels\n"
        "copies      none: no two files are the same\n"
        "readable    all 15\n"
    )
    assert said.err == ""


def test_unreadable_images_are_all_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its reason, status 2, what to do about them."""
    (root / "cats" / "3.png").write_bytes(b"")
    (root / "dogs" / "1.png").write_bytes((root / "dogs" / "1.png").read_bytes()[:200])

    assert run_command_line(["check-data", "small.yaml"]) == 2

    said = capsys.readouterr().out
    head, _, tail = said.partition("unreadable  2 of 15\n")
    assert head.endswith("no two files are the same\n")
    lines = tail.splitlines()
    assert lines[0].startswith("  cats/3.png (train): empty file")
    assert lines[1].startswith(("  dogs/1.png (train): ", "  dogs/1.png (val): "))
    assert "truncated" in lines[1]
    assert lines[2:] == ["  replace them, or set data.on_corrupt: skip, which leaves files out"]
    assert run_command_line(["check-data", "small.yaml", "data.on_corrupt=skip"]) == 2
    said = capsys.readouterr().out
    assert said.endswith("  training leaves them out, as data.on_corrupt says\n")


def test_items_are_not_advised_to_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One's own data set has no files to skip: the key would be refused."""
    monkeypatch.chdir(tmp_path)
    Path("own_set_with_a_gap.py").write_text(
        "import numpy\n"
        "class Items:\n"
        "    targets = [0, 1]\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, i):\n"
        "        return numpy.zeros((8, 8), dtype='u1'), 0 // (1 - i)\n"
        "def make(): return {'train': Items(), 'val': Items()}\n"
    )
    Path("small.yaml").write_text(
        SPEC.replace(
            "image_folder, root: photos, image_size: 16, batch_size: 4",
            "'own_set_with_a_gap:make', batch_size: 2",
        )
    )

    assert run_command_line(["check-data", "small.yaml"]) == 2

    said = capsys.readouterr().out
    assert "unreadable  2 of 4\n" in said
    assert said.endswith("  mend the data set: only files can be left out\n")


def test_a_leak_is_named_and_forbids_nothing(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is trained on and validated on: both names, and what it means."""
    root = write_images({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1})
    Path("small.yaml").write_text(SPEC)
    shutil.copy(root / "train" / "a" / "2.png", root / "val" / "b" / "copy.png")

    assert run_command_line(["check-data", "small.yaml"]) == 0

    assert (
        "copies      1 file is there more than once, to the byte; 1 in several parts, 1 in "
        "several classes\n"
        "  train/a/2.png (train) = val/b/copy.png (val)\n"
        "  what is trained on is scored on: these scores will be too good\n"
        "readable    all 9\n"
    ) in capsys.readouterr().out


def test_json_says_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but JSON on standard output; the status is the same."""
    (root / "cats" / "3.png").write_bytes(b"")

    assert run_command_line(["check-data", "small.yaml", "--json"]) == 2

    values = json.loads(capsys.readouterr().out)
    assert values["counts"] == {
        "train": {"cats": 8, "dogs": 4},
        "val": {"cats": 2, "dogs": 1},
    }
    assert values["sizes"] == [{"width": 16, "height": 16, "images": 14}]
    assert values["unreadable"][0]["name"] == f"{root}/cats/3.png"
    assert values["unreadable"][0]["reason"] == "empty file"
    assert (values["images"], values["copies"]) == (15, [])


def test_many_classes_are_capped(
    write_images: WriteImages, capsys: pytest.CaptureFixture[str]
) -> None:
    """The most frequent and the rarest; how many are left out."""
    write_images({f"class{n:02}": 2 + (n == 7) for n in range(45)}, low=8, high=8)
    Path("small.yaml").write_text(SPEC)

    assert run_command_line(["check-data", "small.yaml"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split()[0] == "class07"
    assert lines[24].split() == ["(5", "more)"]
    assert lines[45].split()[0] == "all"
    assert sum(line.startswith("  class") for line in lines) == 1 + 40


def test_digits_are_in_memory(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    """There is nothing to read, which is said."""
    assert here.is_dir()
    Path("d.yaml").write_text(SPEC.replace("image_folder, root: photos", "digits"))

    assert run_command_line(["check-data", "d.yaml", "data.image_size=8"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("digits: 1,797 images of 10 classes\n")
    assert said.endswith("readable    in memory as it is: there are no files to read\n")


def test_weights_need_not_be_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data can be checked before they are fetched or trained."""
    assert root.is_dir()
    assert run_command_line(["check-data", "small.yaml", "model.weights=run:later@best"]) == 0
    assert "readable    all 15\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal.yaml"], "smal.yaml: no such file"),
        (["small.yaml", "data.root=phtos"], "'data.root=phtos': data.root: no such folder ("),
        (
            ["small.yaml", "data.rot=x"],
            "'data.rot=x': data.rot: no such key; did you mean 'root'",
        ),
        (["small.yaml", "data.classes=[cats, dgs]"], "data.classes: there is no class 'dgs'"),
        (["small.yaml", "data.dataset=nowhere:make"], "data.dataset: "),
    ],
)
def test_typing_errors_are_one_line_each(
    arguments: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place of the key; status 2."""
    assert root.is_dir()
    assert run_command_line(["check-data", *arguments]) == 2

    said = capsys.readouterr()
    assert message in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_a_terminal_sees_a_bar_and_ctrl_c_ends_it(
    write_images: WriteImages, here: Path
) -> None:
    """On standard error; status 130, no traceback."""
    write_images({"a": 10, "b": 10}, low=1000, high=1020)
    # Enough of them that reading lasts for seconds, however late the interruption comes.
    for path in list(here.rglob("*.jpg")) + list(here.rglob("*.png")):
        for number in range(20):
            copy = path.with_stem(f"{path.stem}-{number}")
            copy.write_bytes(path.read_bytes() + bytes([number]))
    Path("small.yaml").write_text(SPEC)
    terminal, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "check-data", "small.yaml"],
        stdout=subprocess.PIPE,
        stderr=child,
        cwd=here,
        env={**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm", "COLUMNS": "100"},
        # A shell lets what it starts in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(child)
    said = b""
    while b"reading" not in said:
        said += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
    assert process.wait(timeout=60) == 130
    assert said.rstrip().endswith(b"interrupted")
    assert b"Traceback" not in said
    os.close(terminal)
