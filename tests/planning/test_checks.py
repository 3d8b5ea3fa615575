"""What no machine could train, or not this kind of machine, is refused by its key."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.planning.checks import check_settings
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.facts import DataSetFacts
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.load import load_spec

MakePlan = Callable[..., SearchPlan]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"loss": {"class_weights": [1, 2]}},
            "loss.class_weights: must be one number for each of 10 classes (got 2)",
        ),
        (
            {"data": {"normalize": "given", "mean": [0.5, 0.5], "std": [1, 1]}},
            "data.mean: must be one number for each of 1 channels, or one for all (got 2)",
        ),
        (
            {"training": {"accumulate": 40}},
            "training.accumulate: 64 images per worker cannot be cut into 40 parts of 2 or "
            "more; set it to 32 at most",
        ),
        (
            {"data": {"train_size": 80}, "training": {"accumulate": 16}},
            "data.batch_size: the last batch of an epoch has 16 of 64 images, fewer than 2 for "
            "each of 16 parts (training.accumulate) of 1 worker; set data.drop_last: true",
        ),
        (
            {"data": {"repeated_augmentation": 3}},
            "data.repeated_augmentation: must divide data.batch_size, 64 (got 3)",
        ),
        (
            {"training": {"precision": "float16"}},
            "training.precision: needs a GPU, this run is on CPUs; use bfloat16",
        ),
        (
            {"training": {"cudnn_benchmark": True}, "deterministic": False},
            "training.cudnn_benchmark: needs a GPU, this run is on CPUs; leave it out",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(
    make_plan: MakePlan, sections: dict[str, Any], message: str
) -> None:
    """The key, the reason and the way out."""
    sections["training"] = {"epochs": 3, **sections.get("training", {})}

    with pytest.raises(SpecError) as caught:
        make_plan(**sections)

    assert message in str(caught.value)
    assert str(caught.value).startswith("<dict>: ")


def test_a_gpu_may_compute_in_float16(make_plan: MakePlan) -> None:
    """There it is a matter of taste."""
    gpu = Cluster(nodes=(Node(name="here", cpus=4, gpus=1),))

    plan = make_plan(cluster=gpu, training={"precision": "float16"})

    assert plan.runs[0].numbers.training.precision == "float16"


def test_files_that_were_not_looked_at_are_not_judged() -> None:
    """`validate` knows nothing of a folder: what it says needs none."""
    spec = load_spec(
        {
            "name": "x",
            "data": {"dataset": "image_folder", "root": "nowhere", "train_size": 3},
            "model": {"architecture": "small_cnn"},
            "training": {"epochs": 1},
        }
    )

    check_settings(spec, [{}])


def test_a_wrong_class_is_refused_with_its_place() -> None:
    """By `validate` already."""
    spec = load_spec(
        {
            "name": "x",
            "data": {"dataset": "digits", "classes": ["1", "x"]},
            "model": {"architecture": "small_cnn"},
            "training": {"epochs": 1},
        }
    )

    with pytest.raises(SpecError) as caught:
        check_settings(spec, [{}])

    assert str(caught.value) == (
        "<dict>: data.classes: digits has no class 'x'; it has '0' to '9'"
    )


def test_a_single_class_is_refused() -> None:
    """There is nothing to tell apart, and no other class to smooth to."""
    spec = load_spec(
        {
            "name": "x",
            "data": {"dataset": "mine:One"},
            "model": {"architecture": "small_cnn"},
            "training": {"epochs": 1},
        }
    )
    facts = DataSetFacts(train_size=640, num_classes=1, channels=1, image_size=8)

    with pytest.raises(SpecError) as caught:
        check_settings(spec, [{}], facts)

    assert str(caught.value).endswith(
        "data.dataset: mine:One has one class alone; needs images of two classes or more"
    )
