"""What is asked of recorded runs: the same numbers again, and the right code for it."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from orchestrator import api
from orchestrator.errors import RecordError, SpecError, TrainingError
from orchestrator.recorded.evaluation import PARTS, evaluate
from orchestrator.recorded.features import FeatureOptions, extract_features
from orchestrator.recorded.probing import probe_features
from orchestrator.recorded.rerun import rerun
from orchestrator.recorded.runs import find_recorded
from orchestrator.tracking import journal
from orchestrator.tracking.record import SearchRecord
from orchestrator.training.probe import Labelled, score_probe

SMALL = {
    "name": "small",
    "data": {
        "dataset": "digits",
        "train_size": 80,
        "label_noise": 0.2,
        "normalize": "measured",
        "transforms": "light",
    },
    "model": {"architecture": "small_cnn"},
    "training": {"epochs": 2, "ema": 0.9, "select": "best"},
}
MINE = """
import numpy as np
from torch import nn

FACTOR = 1

class Halves:
    def __init__(self, count):
        self.targets = [number % 2 for number in range(count)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image = np.zeros((8, 8), np.uint8)
        image[:, 4 * self.targets[index]:][:, :4] = 100 * FACTOR + index
        return image, self.targets[index]

def data():
    return {"train": Halves(40), "val": Halves(20), "classes": ["left", "right"]}

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.flat = nn.Flatten()
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        return self.head(self.flat(images)) * FACTOR
"""
OWN = """
name: own
data: {dataset: "mine:data", batch_size: 8}
model: {architecture: "mine:Net"}
training: {epochs: 1}
"""


def train(source: Any) -> SearchRecord:
    """One run, here."""
    return api.run(source, options=api.RunOptions(in_process=True))


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Threads and determinism of the process are left as they were."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Holds `small#1`, trained with an average, noise, augmentation and measured statistics."""
    folder = tmp_path_factory.mktemp("storage")
    train({**SMALL, "storage_path": str(folder)})
    return str(folder)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """An experiment with the user's own network and data, trained; its module has changed."""
    (tmp_path / "mine.py").write_text(MINE)
    spec = tmp_path / "own.yaml"
    spec.write_text(OWN + f"storage_path: {tmp_path}/runs\n")
    path_before = list(sys.path)
    train(str(spec))
    (tmp_path / "mine.py").write_text(MINE.replace("FACTOR = 1", "FACTOR = 2"))
    yield spec
    sys.path[:] = path_before
    sys.modules.pop("mine", None)


def change_plan(folder: Path, change: Mapping[str, Any]) -> None:
    """Replace top-level values of every run's plan in a journal."""
    path = folder / journal.FILE_NAME
    first, *rest = path.read_text().splitlines()
    entry = json.loads(first)
    entry["plan"]["runs"] = [{**run, **change} for run in entry["plan"]["runs"]]
    path.write_text("\n".join([json.dumps(entry), *rest]) + "\n")


def test_an_evaluation_is_what_was_recorded(storage: str) -> None:
    """Every recorded metric that an evaluation has, to the last digit, and none is missing."""
    evaluation = evaluate("small@best", storage_path=storage)

    recorded = api.read_record("small", storage_path=storage).runs[0].metrics
    assert {name: recorded[name] for name in evaluation.metrics} == evaluation.metrics
    assert set(recorded) - set(evaluation.metrics) == {"train/loss", "train/lr", "best_epoch"}
    assert evaluation.differences == {}
    assert evaluation.rescored.weights.name == "best.safetensors"


def test_an_evaluation_counts_every_image(storage: str) -> None:
    """Recall, images and confusion of each class agree; JSON holds all of it."""
    values = json.loads(json.dumps(evaluate("small@best", storage_path=storage).to_json()))

    confusion = np.array(values["confusion"])
    assert confusion.shape == (10, 10)
    assert values["images"] == confusion.sum() == 700
    assert [row["images"] for row in values["classes"]] == confusion.sum(axis=1).tolist()
    recall = confusion.diagonal() / confusion.sum(axis=1)
    assert [row["recall"] for row in values["classes"]] == pytest.approx(recall.tolist())
    assert values["metrics"]["val/accuracy"] == pytest.approx(confusion.trace() / 700)


@pytest.mark.parametrize(("split", "images"), [("train", 80), ("test", 297)])
def test_other_parts_have_no_record_to_agree_with(
    storage: str, split: str, images: int
) -> None:
    """Their metrics are named by them."""
    evaluation = evaluate("small@best", split=split, storage_path=storage)

    assert evaluation.rescored.scores.samples == images
    assert all(name.startswith(f"{split}/") for name in evaluation.metrics)
    assert evaluation.differences is None


def test_a_storage_that_was_moved_is_found(storage: str, tmp_path: Path) -> None:
    """Weights come from where the run lies now, not from where it was trained."""
    moved = tmp_path / "moved"
    shutil.copytree(storage, moved)

    evaluation = evaluate("small@best", storage_path=str(moved))

    assert evaluation.rescored.weights.is_relative_to(moved)
    assert evaluation.differences == {}


def test_a_part_that_is_none_is_refused(storage: str) -> None:
    """The three that there are, in one line."""
    with pytest.raises(
        SpecError, match=r"^--split: there are train, val, test \(got 'vall'\)$"
    ):
        evaluate("small@best", split="vall", storage_path=storage)


def test_a_plan_of_another_version_is_refused(storage: str, tmp_path: Path) -> None:
    """A field that this version does not know may have meant other weights."""
    shutil.copytree(storage, tmp_path / "other")
    change_plan(tmp_path / "other" / "small" / "1", {"surprise": 1})

    with pytest.raises(
        RecordError, match=r"was recorded by another version of orchestrator \("
    ):
        find_recorded("small/seed=0", storage_path=str(tmp_path / "other"))


def test_own_code_is_the_code_that_was_trained(own: Path) -> None:
    """The edited module would double logits and brighten images; the run's own copy counts.

    The process has imported `mine` before, and has it afterwards.
    """
    before = sys.modules["mine"]

    evaluation = evaluate("own@best", storage_path=f"{own.parent}/runs")

    assert evaluation.differences == {}
    assert evaluation.rescored.classes == ("left", "right")
    assert sys.modules["mine"] is before


def test_own_code_that_is_gone_is_named_before_a_number_is_claimed(own: Path) -> None:
    """In one line."""
    storage = f"{own.parent}/runs"
    shutil.rmtree(f"{storage}/own/1/source")

    with pytest.raises(RecordError, match=r"^own/1/seed=0: its copy of .*/source, is gone; "):
        rerun("own@best", storage_path=storage)

    assert not Path(storage, "own.rerun").exists()


def test_own_data_without_a_test_part_says_so(own: Path) -> None:
    """It is the user's to return one."""
    with pytest.raises(TrainingError, match=r"^data.dataset: mine:data returns no 'test'"):
        evaluate("own@best", split="test", storage_path=f"{own.parent}/runs")


def test_features_take_the_network_of_then_and_the_data_of_now(own: Path) -> None:
    """Both are called `mine`: the run's copy builds the network, the edited file the images."""
    out = own.parent / "features"
    options = FeatureOptions(layers=("flat", "head"), out=out)

    extract_features(str(own), run="own@best", options=options)

    given = np.load(out / "flat.npy").reshape(20, 8, 8)
    assert given[0, 0, 0] == pytest.approx(200 / 255)
    assert given[1, 0, 4] == pytest.approx(201 / 255)
    weights = load_file(
        evaluate("own@best", storage_path=f"{own.parent}/runs").rescored.weights
    )
    scores = np.load(out / "flat.npy") @ weights["head.weight"].T + weights["head.bias"]
    assert np.allclose(np.load(out / "head.npy"), scores, atol=1e-5)
    assert (out / "source" / "mine.py").read_text() == (own.parent / "mine.py").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        *["features.json", "flat.npy", "head.npy", "ids.npy", "labels.npy", "source"]
    ]


def test_images_are_brought_to_what_the_network_takes(storage: str, tmp_path: Path) -> None:
    """Colour images of 16 pixels become grey ones of 8, normalised as the run measured.

    Layer by layer it is the pass of those pixels through the run's own network.
    """
    spec = {
        "name": "other",
        "data": {
            "dataset": "synthetic",
            "arguments": {"val_size": 12, "image_size": 16, "num_classes": 3},
        },
        "model": {"architecture": "resnet18"},
        "training": {"epochs": 1},
    }
    options = FeatureOptions(layers=("features",), out=tmp_path / "f")
    features = extract_features(spec, run="small@best", options=options, storage_path=storage)

    assert features.shapes == {"features": (12, 32)}
    assert features.classes == ("0", "1", "2")
    from torchvision.transforms.v2.functional import resize

    from orchestrator.training.data.build import build_data
    from orchestrator.training.data.synthetic import load_synthetic
    from orchestrator.training.restore import restore_run

    plan = find_recorded("small@best", storage_path=storage).plan
    pixels = load_synthetic(("val",), spec["data"]["arguments"], channels=1).parts["val"].images  # type: ignore[index]
    small = torch.stack([resize(pixels.read(row), [8]) for row in range(12)])  # type: ignore[union-attr]
    measured = build_data(plan.numbers.data, plan.place, seed=0).train.normalization
    with torch.no_grad():
        model = restore_run(plan, torch.device("cpu")).model
        expected = model.features(measured.apply(small))  # type: ignore[operator]
    assert np.allclose(np.load(tmp_path / "f" / "features.npy"), expected, atol=1e-5)


def test_what_the_spec_says_of_images_is_kept(storage: str, tmp_path: Path) -> None:
    """An image size and a normalisation that are written down are not the run's."""
    changed = {**SMALL, "data": {"dataset": "digits", "image_size": 12, "normalize": "none"}}
    options = FeatureOptions(layers=("features.0", "features.2"), out=tmp_path / "f")

    features = extract_features(
        changed, run="small@best", options=options, storage_path=storage
    )

    assert features.shapes["features.2"] == (700, 16, 12, 12)
    # Black stays 0 and a convolution without bias leaves it so, unless it was normalised.
    assert np.load(tmp_path / "f" / "features.0.npy")[:, :, 0, 0].min(axis=1).max() <= 0


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"dataset": "digits", "train_size": {"grid": [20, 30]}},
            r"data.train_size: is searched over; give it one value, such as data.train_size=20",
        ),
        (
            {
                "dataset": "digits",
                "normalize": "given",
                "mean": [0.5, 0.5, 0.5],
                "std": [1, 1, 1],
            },
            r"data.normalize: has 3 channels, the network of small/1/seed=0 takes 1; leave it",
        ),
    ],
)
def test_data_that_cannot_be_meant_are_refused(
    storage: str, tmp_path: Path, data: Mapping[str, Any], text: str
) -> None:
    """In one line with its place; nothing is left behind."""
    options = FeatureOptions(layers=("head",), out=tmp_path / "f")

    with pytest.raises(SpecError, match=text):
        extract_features(
            {**SMALL, "data": data}, run="small@best", options=options, storage_path=storage
        )
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_image(storage: str, tmp_path: Path) -> None:
    """Batch by batch up to all of them."""
    seen: list[tuple[int, int]] = []
    options = FeatureOptions(
        layers=("head",), out=tmp_path / "f", parts=("train", "test"), batch_size=100
    )

    extract_features(
        SMALL,
        run="small@best",
        options=options,
        storage_path=storage,
        progress=lambda done, size: seen.append((done, size)),
    )

    assert seen == [(0, 377), (80, 377), (180, 377), (280, 377), (377, 377)]


def test_an_interruption_leaves_nothing(storage: str, tmp_path: Path) -> None:
    """Neither the folder nor the one that it was to become."""
    options = FeatureOptions(layers=("head",), out=tmp_path / "deep" / "f")

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(
            SMALL, run="small@best", options=options, storage_path=storage, progress=interrupt
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_probes_fit_on_train_and_score_on_val(storage: str, tmp_path: Path, kind: Any) -> None:
    """Never the other way round, nor on test rows; the result lies beside the features."""
    out = tmp_path / "f"
    options = FeatureOptions(layers=("head", "features.6"), out=out, parts=PARTS, pool=True)
    extract_features(SMALL, run="small@best", options=options, storage_path=storage)

    scores = probe_features(out, kind)

    labels = np.load(out / "labels.npy")
    assert list(scores) == ["head", "features.6"]
    for layer, score in scores.items():
        values = np.load(out / f"{layer}.npy")
        fitted = Labelled(values[:80], labels[:80])
        assert score == score_probe(kind, fitted, Labelled(values[80:780], labels[80:780]))
    written = json.loads((out / "probe.json").read_text())
    assert written["probe"] == kind
    assert written["layers"]["head"]["accuracy"] == scores["head"].accuracy
