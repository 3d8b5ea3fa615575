"""Extraction: each image's own row, once, whoever writes it, in memory that does not grow."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.errors import SpecError, TrainingError
from orchestrator.planning.run_plan import Assignment, Place, RunPlan
from orchestrator.planning.section_plans import NormalizePlan, StepPlan
from orchestrator.training import loop
from orchestrator.training.context import WorkerContext
from orchestrator.training.feature_set import FeatureSet, file_name, read_description
from orchestrator.training.features import FeatureJob, fix_normalization, open_extraction
from orchestrator.training.restore import restore_run
from tests import plans
from tests.device import DEVICE

MakeAssignment = Callable[..., Assignment]
Extract = Callable[..., FeatureSet]

MEASURE = """
import resource, sys
from pathlib import Path
from tests.training.test_features import extract_synthetic

extract_synthetic(Path(sys.argv[1]), Path(sys.argv[2]), size=128)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
extract_synthetic(Path(sys.argv[1]), Path(sys.argv[3]), size=1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
"""Kilobytes by which eight times as many images raise the peak of memory."""


@pytest.fixture(scope="module")
def run(
    make_assignment_in: MakeAssignment, tmp_path_factory: pytest.TempPathFactory
) -> RunPlan:
    """A small network, trained for an epoch on digits."""
    folder = tmp_path_factory.mktemp("trained")
    assignment = make_assignment_in(folder, training={"epochs": 1})
    context = WorkerContext(rank=0, world_size=1, device=DEVICE, report=lambda *_: "continue")
    loop.train(assignment, context)
    return assignment.plan


def make_job(run: RunPlan, **changes: Any) -> FeatureJob:
    """The validation digits through two layers, in batches of 50."""
    values: dict[str, Any] = {
        "run": run,
        "data": plans.data_plan(label_noise=0.0),
        "place": Place(folder="", loader_workers=0),
        "seed": 3,
        "parts": ("val",),
        "layers": ("features.1", "head"),
        "pool": False,
        "batch_size": 50,
    }
    return FeatureJob(**(values | changes))


def extract(job: FeatureJob, folder: Path, *, world_size: int = 1) -> FeatureSet:
    """All of it, worker by worker, here."""
    folder.mkdir(exist_ok=True)
    with open_extraction(job) as extraction:
        features = extraction.create(folder)
        done = [
            sum(extraction.write_share(folder, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
    assert sum(done) == features.size
    return features


def extract_synthetic(saved: Path, folder: Path, *, size: int) -> None:
    """The first layer of `size` made-up images, 128 KiB each."""
    run = RunPlan.from_json(json.loads(saved.read_text()))
    extract(
        make_job(
            run,
            data=plans.data_plan(
                dataset="synthetic",
                arguments={"val_size": size, "channels": 1, "image_size": 64},
                image_size=64,
            ),
            layers=("features.2",),
            batch_size=16,
        ),
        folder,
    )


def load(folder: Path, layer: str) -> np.ndarray:
    """A layer's array."""
    found: np.ndarray = np.load(folder / f"{layer}.npy")
    return found


def test_rows_are_what_the_network_gives(run: RunPlan, tmp_path: Path) -> None:
    """The scores of the head are the predictions that training has left, image by image."""
    features = extract(make_job(run), tmp_path / "f")

    with np.load(Path(run.place.folder) / "predictions.npz") as stored:
        order = np.argsort(np.load(tmp_path / "f" / "ids.npy"))
        assert (np.load(tmp_path / "f" / "ids.npy")[order] == stored["ids"]).all()
        assert (np.load(tmp_path / "f" / "labels.npy")[order] == stored["labels"]).all()
        assert np.allclose(load(tmp_path / "f", "head")[order], stored["logits"], atol=1e-5)
    assert features.shapes == {"features.1": (700, 16, 8, 8), "head": (700, 10)}
    assert features.rows == {"val": (0, 700)}
    assert read_description(tmp_path / "f") == features


def test_a_layer_before_a_relu_in_place_is_written_as_it_was(
    run: RunPlan, tmp_path: Path
) -> None:
    """The normalisation before it, recomputed by the network cut off behind it."""
    job = make_job(run, parts=("test",), batch_size=297)
    extract(job, tmp_path / "f")

    restored = restore_run(run, DEVICE)
    with open_extraction(job) as extraction, torch.no_grad():
        pixels = extraction._data.test.images.float() / 255
        expected = restored.model.features[:2](pixels.to(DEVICE)).cpu()  # type: ignore[index]
    assert np.allclose(load(tmp_path / "f", "features.1"), expected, atol=1e-6)
    assert (load(tmp_path / "f", "features.1") < 0).any()


@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 50), (3, 7), (5, 1000)])
def test_shares_make_the_whole(
    run: RunPlan, tmp_path: Path, world_size: int, batch_size: int
) -> None:
    """Several workers and other batches: the same rows in the same files, each once."""
    job = make_job(run, parts=("train", "val"))
    extract(job, tmp_path / "one")

    extract(replace(job, batch_size=batch_size), tmp_path / "many", world_size=world_size)

    for name in ("labels", "ids"):
        assert (load(tmp_path / "many", name) == load(tmp_path / "one", name)).all()
    for layer in job.layers:
        one, many = (load(tmp_path / folder, layer) for folder in ("one", "many"))
        assert np.allclose(one, many, atol=1e-5)
        # A row that nobody has written would still be zero.
        assert (np.abs(many).sum(axis=tuple(range(1, many.ndim))) > 0).all()


def test_more_workers_than_images_leave_some_idle(run: RunPlan, tmp_path: Path) -> None:
    """Two images, five workers."""
    data = plans.data_plan(dataset="synthetic", arguments={"val_size": 2, "channels": 1})

    features = extract(make_job(run, data=data), tmp_path / "f", world_size=5)

    assert features.size == 2
    assert (load(tmp_path / "f", "head") != 0).all()


def test_parts_follow_each_other(run: RunPlan, tmp_path: Path) -> None:
    """Training, validation and test digits: 80, 700 and 297 rows, no image twice."""
    features = extract(
        make_job(run, parts=("train", "val", "test"), layers=("head",)), tmp_path / "f"
    )

    assert features.rows == {"train": (0, 80), "val": (80, 780), "test": (780, 1077)}
    assert len(np.unique(load(tmp_path / "f", "ids"))) == features.size == 1077


def test_pooled_rows_are_the_means_of_whole_ones(run: RunPlan, tmp_path: Path) -> None:
    """A map becomes a value per channel."""
    job = make_job(run, parts=("test",))
    extract(job, tmp_path / "whole")
    features = extract(replace(job, pool=True), tmp_path / "pooled")

    assert features.shapes["features.1"] == (297, 16)
    means = load(tmp_path / "whole", "features.1").mean(axis=(2, 3))
    assert np.allclose(load(tmp_path / "pooled", "features.1"), means, atol=1e-6)


def test_images_pass_the_steps_of_evaluation(run: RunPlan, tmp_path: Path) -> None:
    """Never those of training: a crop that training draws anew each time has no part in it."""
    steps = (StepPlan(name="RandomCrop", arguments={"size": 4}),)
    data = plans.data_plan(train_transforms=steps, label_noise=0.0)
    job = make_job(run, parts=("train",))
    extract(job, tmp_path / "plain")

    extract(replace(job, data=data), tmp_path / "augmented")

    first, second = (load(tmp_path / name, "features.1") for name in ("plain", "augmented"))
    assert (first == second).all()


def test_classes_may_be_others_than_the_networks(run: RunPlan, tmp_path: Path) -> None:
    """Features of four made-up classes by a network of ten: labels are the data's."""
    arguments = {"val_size": 8, "channels": 3, "num_classes": 4, "image_size": 8}
    data = plans.data_plan(dataset="synthetic", arguments=arguments, num_classes=4)

    features = extract(make_job(run, data=data), tmp_path / "f")

    assert features.classes == ("0", "1", "2", "3")
    assert features.trained_classes == tuple(map(str, range(10)))
    assert sorted(load(tmp_path / "f", "labels")) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_memory_does_not_grow_with_the_images(
    run: RunPlan, tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    """A quarter of a gigabyte of features passes through a fraction of it."""
    saved = tmp_path / "plan.json"
    saved.write_text(json.dumps(run.to_json()))
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            MEASURE,
            str(saved),
            *map(str, (tmp_path / "s", tmp_path / "l")),
        ],
        env=child_environment,
        capture_output=True,
        text=True,
        check=True,
    )

    written = (tmp_path / "l" / "features.2.npy").stat().st_size
    assert written == 128 + 1024 * 16 * 64 * 64 * 4
    assert int(said.stdout) * 1024 < written / 4


def test_nothing_is_read_where_a_layer_is_not_there(run: RunPlan) -> None:
    """The name is looked at before any image is read."""
    with (
        pytest.raises(
            SpecError, match=r"^--layers: SmallCNN has no layer 'heed'; did you mean"
        ),
        open_extraction(make_job(run, layers=("heed",))),
    ):
        pass


def test_images_that_the_network_cannot_take_are_refused(run: RunPlan, tmp_path: Path) -> None:
    """Before any file is made."""
    data = plans.data_plan(channels=3)

    with (
        open_extraction(make_job(run, data=data)) as extraction,
        pytest.raises(TrainingError, match=r"cannot take images of shape \(3, 8, 8\)"),
    ):
        extraction.create(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_node_does_not_see_is_named(run: RunPlan, tmp_path: Path) -> None:
    """Workers of several nodes write into the same files."""
    with (
        open_extraction(make_job(run)) as extraction,
        pytest.raises(TrainingError, match="need a folder on storage that they share"),
    ):
        next(extraction.write_share(tmp_path / "elsewhere", rank=0, world_size=2))


def test_measured_statistics_become_given_ones() -> None:
    """Those of the training images, as workers need not measure them again."""
    place = Place(folder="", loader_workers=0)
    measured = NormalizePlan(by="measured", mean=(), std=())
    data = plans.data_plan(normalize=measured, train_size=800)

    fixed = fix_normalization(data, place, seed=0)

    from orchestrator.training.data.build import build_data

    pixels = build_data(plans.data_plan(train_size=800), place, seed=0).train.images / 255
    assert fixed.by == "given"
    assert fixed.mean == pytest.approx([float(pixels.double().mean())], abs=1e-7)
    assert fixed.std == pytest.approx([float(pixels.double().std(correction=0))], abs=1e-7)
    assert fix_normalization(replace(data, normalize=fixed), place, seed=0) is fixed


@pytest.mark.parametrize(
    ("layer", "file"),
    [
        ("layer4.1.conv2", "layer4.1.conv2.npy"),
        ("labels", "labels_.npy"),
        ("ids", "ids_.npy"),
        ("a/b", "a_b.npy"),
    ],
)
def test_files_are_called_by_their_layers(layer: str, file: str) -> None:
    """No layer's array writes over the labels or leaves the folder."""
    assert file_name(layer) == file
