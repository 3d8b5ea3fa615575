"""Transfer, folders of odd images and the user's own code, as a user meets them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.journey.conftest import Orchestrate

BASE = """\
name: zero-to-four
data: {dataset: digits, classes: ["0", "1", "2", "3", "4"], batch_size: 32}
model: {architecture: small_cnn}
schedule: {name: one_cycle}
training: {epochs: 8}
"""

FINE_TUNE = """\
name: five-to-nine
data:
  dataset: digits
  classes: ["5", "6", "7", "8", "9"]
  train_size: 50
  batch_size: 25
model:
  architecture: small_cnn
  weights: {grid: [null, "run:zero-to-four@best"]}
fine_tune:
  backbone_lr: {grid: [0.1, 0]}
  head_lr: 0.1
optimizer: {name: sgd, weight_decay: 5e-4}
schedule: {name: one_cycle}
training: {epochs: 20}
search: {seeds: 2, baseline: {weights: null, backbone_lr: 0.1}}
"""


def test_a_network_of_other_digits_is_fine_tuned(
    orchestrate: Orchestrate, tmp_path: Path, storage: Path, running_ray: str
) -> None:
    """From scratch, with a backbone that learns on, and with one that is frozen.

    What the backbone has learned of other digits is worth far more than random weights where it
    is frozen; the head of the other classes is left out, and the report says so.
    """
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "tune.yaml").write_text(FINE_TUNE)

    refused = orchestrate("plan", "tune.yaml")
    assert refused.status == 2
    assert "tune.yaml:9:20: model.weights: no search of the name 'zero-to-four'" in refused.err
    base = orchestrate("run", "base.yaml", RAY_ADDRESS=running_ray)
    assert base.status == 0, base.err
    planned = orchestrate("plan", "tune.yaml")
    assert "group      backbone: 9 tensors, 14,128 parameters, lr 0.1" in planned.out
    assert "group      head: 2 tensors, 165 parameters, lr 0.1" in planned.out
    tuned = orchestrate("run", "tune.yaml", RAY_ADDRESS=running_ray)
    assert tuned.status == 0, tuned.err

    rows = json.loads(orchestrate("compare", "five-to-nine", "--json").out)["settings"]
    means = {tuple(row["setting"].values()): row["mean"] for row in rows}
    assert means[None, 0.1] > 0.8
    assert means["run:zero-to-four@best", 0.1] > 0.8
    assert means["run:zero-to-four@best", 0.0] > means[None, 0.0] + 0.2
    (report, *_) = (storage / "five-to-nine" / "1").glob("*best*/load_report.txt")
    assert "100.0% of the parameters loaded" in report.read_text()
    assert "the classes differ" in report.read_text()
    run = report.parent
    assert json.loads((run / "classes.json").read_text()) == {str(5 + i): i for i in range(5)}

    # Scored again from its files; the test part is read only on demand.
    name = f"five-to-nine/{run.name}"
    again = json.loads(orchestrate("evaluate", name, "--json").out)
    recorded = json.loads((run / "scores.json").read_text())
    assert again["metrics"]["val/accuracy"] == recorded["accuracy"]
    assert again["metrics"]["val/nll"] == pytest.approx(recorded["nll"], rel=1e-12)
    unseen = json.loads(orchestrate("evaluate", name, "--split", "test", "--json").out)
    assert 0.5 < unseen["metrics"]["test/accuracy"] <= 1


def draw(kind: str, *, seed: int, size: tuple[int, int]) -> Image.Image:
    """Noise that is bright for one kind and dark for the other."""
    low = 120 if kind == "bright" else 0
    noise = np.random.default_rng(seed).integers(low, low + 120, (*size, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def make_odd_folder(folder: Path) -> Path:
    """JPEG and PNG files of every mode and size, one of them turned, one cut off.

    Returns:
        The file that cannot be read.
    """
    modes = ["RGB", "L", "RGBA", "P", "LA", "1", "I;16", "CMYK"]
    for label, kind in enumerate(("bright", "dark")):
        (folder / kind).mkdir(parents=True)
        for number in range(24):
            size = (20 + number, 40 - number % 7)
            image = draw(kind, seed=100 * label + number, size=size)
            mode = modes[number % len(modes)]
            if mode == "I;16":
                wide = np.asarray(image.convert("L")).astype(np.uint16) * 257
                Image.fromarray(wide).save(folder / kind / f"{number}.png")
            elif mode in ("RGB", "CMYK"):
                exif = Image.Exif()
                exif[0x0112] = 1 + number % 8  # orientation
                image.convert(mode).save(folder / kind / f"{number}.jpg", exif=exif)
            else:
                image.convert(mode).save(folder / kind / f"{number}.png")
    broken = folder / "dark" / "cut.jpg"
    draw("dark", seed=1, size=(30, 30)).save(broken)
    broken.write_bytes(broken.read_bytes()[:300])
    return broken


FOLDER = """\
name: odd
data:
  dataset: image_folder
  root: images
  image_size: 24
  batch_size: 8
  transforms: light
  normalize: measured
  loader_workers: 2
model: {architecture: small_cnn}
optimizer: {name: adamw, lr: 0.003}
training: {epochs: 6}
"""


@pytest.mark.parametrize("cache", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_folder_of_odd_images_is_learned(
    orchestrate: Orchestrate, tmp_path: Path, storage: Path, cache: str
) -> None:
    """Every mode and orientation; a file that is cut off is named first, then left out."""
    broken = make_odd_folder(tmp_path / "images")
    (tmp_path / "odd.yaml").write_text(FOLDER)
    options = ("odd.yaml", f"data.cache={cache}")
    kept = {"ORCHESTRATOR_CACHE": str(tmp_path / "cache")}

    checked = orchestrate("check-data", *options, **kept)
    assert checked.status == 2
    assert "dark/cut.jpg (train): " in checked.out
    if cache == "true":
        failed = orchestrate("run", *options, "--in-process", **kept)
        assert failed.status != 0
        assert str(broken) in failed.err
    ran = orchestrate("run", *options, "data.on_corrupt=skip", "--in-process", **kept)
    assert ran.status == 0, ran.err

    runs = sorted((storage / "odd").glob("*/seed=0/scores.json"))
    assert json.loads(runs[-1].read_text())["accuracy"] >= 0.9
    assert (runs[-1].parent / "skipped.txt").read_text().strip() == str(broken)
    journal = (runs[-1].parents[1] / "journal.jsonl").read_text()
    assert '"skipped_images": 1.0' in journal


OWN = """\
import torch
from layers_of_mine import block
from torch import nn


class Net(nn.Module):
    def __init__(self, *, width, num_classes, channels):
        super().__init__()
        self.body = block(channels, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.body(images))


class Dots:
    def __init__(self, *, count):
        torch.manual_seed(0)
        self.train, self.val = (self.make(n) for n in (count, 60))
        self.classes = ["left", "right"]

    def make(self, count):
        images = torch.randint(0, 60, (count, 1, 8, 8), dtype=torch.uint8)
        labels = torch.arange(count) % 2
        for image, label in zip(images, labels, strict=True):
            image[0, 2:6, 1 + 4 * label : 3 + 4 * label] = 250
        return [(image, int(label)) for image, label in zip(images, labels, strict=True)]
"""

LAYERS = """\
from torch import nn


def block(channels, width):
    convolution = nn.Conv2d(channels, width, 3)
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, width))
"""

OWN_SPEC = """\
name: mine
data: {dataset: "my_code:Dots", arguments: {count: 80}, batch_size: 16}
model: {architecture: "my_code:Net", arguments: {width: {grid: [2, 8]}}}
optimizer: {name: adamw, lr: 0.01}
training: {epochs: 5}
search: {seeds: 2}
"""


def test_ones_own_network_and_data_are_searched(
    orchestrate: Orchestrate, tmp_path: Path, storage: Path, running_ray: str
) -> None:
    """Found beside the spec, with what they import; kept with the records; mistakes named."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "my_code.py").write_text(OWN)
    (tmp_path / "lab" / "layers_of_mine.py").write_text(LAYERS)
    (tmp_path / "lab" / "mine.yaml").write_text(OWN_SPEC)

    validated = orchestrate("validate", "lab/mine.yaml")
    assert validated.status == 0, validated.err
    typo = orchestrate("plan", "lab/mine.yaml", "model.architecture=my_code:Nett")
    assert typo.status == 2
    assert "model.architecture: my_code has no 'Nett'; did you mean 'Net'?" in typo.err
    wrong = orchestrate("plan", "lab/mine.yaml", "model.arguments={widht: 3}")
    assert wrong.status == 2
    assert "model.arguments: " in wrong.err
    assert "Traceback" not in wrong.err
    ran = orchestrate("run", "lab/mine.yaml", RAY_ADDRESS=running_ray)
    assert ran.status == 0, ran.err

    search = storage / "mine" / "1"
    assert {path.name for path in (search / "source").iterdir()} >= {
        "my_code.py",
        "layers_of_mine.py",
    }
    rows = json.loads(orchestrate("compare", "mine", "--json").out)["settings"]
    assert [row["setting"] for row in rows] == [
        {"model.arguments.width": 2},
        {"model.arguments.width": 8},
    ]
    assert rows[1]["mean"] > 0.9
    # The files in the records are what is used again, whatever became of the others.
    (tmp_path / "lab" / "my_code.py").unlink()
    again = orchestrate("evaluate", "mine/width=8,seed=0", "--json")
    assert again.status == 0, again.err
    assert [row["name"] for row in json.loads(again.out)["classes"]] == ["left", "right"]
