"""What a spec leaves open is decided here, once."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import InfeasibleError, SpecError
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.facts import known_facts
from orchestrator.planning.numbers import Limits
from orchestrator.planning.run_plan import Assignment, RunPlan
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.load import load_spec
from orchestrator.training.data.build import build_data
from tests import plans

MakePlan = Callable[..., SearchPlan]

TWO_GPUS = Cluster(nodes=(Node(name="here", cpus=8, gpus=2),))
SMALLEST = {"name": "x", "model": {"architecture": "small_cnn"}, "training": {"epochs": 1}}
GRID = {"label_smoothing": {"grid": [0, 0.1]}}


def test_the_smallest_spec_is_decided_to_the_last_value(make_plan: MakePlan) -> None:
    """Every number that training needs, with nothing left to a default."""
    plan = make_plan()

    (run,) = plan.runs
    assert run.to_json() == {
        "run_id": "demo/3/seed=0",
        "setting": {},
        "select": "last",
        "metric": "val/accuracy",
        "maximize": True,
        "numbers": {
            "seed": 0,
            "deterministic": "true",
            "data": {
                "dataset": "digits",
                "arguments": {},
                "manifest": "",
                "classes": (),
                "num_classes": 10,
                "channels": 1,
                "image_size": 8,
                "batch_size": 64,
                "train_size": 800,
                "label_noise": 0.0,
                "drop_last": False,
                "val_share": 0.2,
                "test_share": 0.0,
                "sampler": "shuffle",
                "repeated_augmentation": 1,
                "train_transforms": (),
                "eval_transforms": (),
                "normalize": {"by": "none", "mean": (), "std": ()},
                "mixup": 0.0,
                "cutmix": 0.0,
                "mix_off_epoch": None,
                "on_corrupt": "fail",
            },
            "model": {
                "architecture": "small_cnn",
                "arguments": {},
                "head": "linear",
                "weights": None,
                "initialization": "default",
                "rules": (),
                "sync_batch_norm": False,
                "channels_last": False,
            },
            "loss": {
                "name": "cross_entropy",
                "arguments": {},
                "label_smoothing": 0.0,
                "smoothing": "uniform",
                "class_weights": "none",
            },
            "optimizer": {
                "name": "sgd",
                "lr": 0.1,
                "weight_decay": 0.0,
                "decay_norm_and_bias": True,
                "arguments": {"momentum": 0.9},
            },
            "fine_tune": {
                "groups": (),
                "layer_decay": None,
                "linear_probe_epochs": 0,
                "unfreeze": (),
            },
            "schedule": {
                "name": "constant",
                "warmup_epochs": 0.0,
                "step_epochs": 0,
                "milestones": (),
                "gamma": 1.0,
            },
            "training": {
                "epochs": 3,
                "precision": "float32",
                "accumulate": 1,
                "clip_norm": None,
                "ema": None,
                "compile": False,
                "cudnn_benchmark": False,
                "early_stopping": None,
            },
            "world_size": 1,
            "threads": 1,
            "device": "cpu",
            "sources": "",
            "installed": {},
            "limit_batches": None,
            "overfit_batches": None,
        },
        "place": {
            "folder": "/data/runs/demo/3/seed=0",
            "loader_workers": 0,
            "data_root": "",
            "download": False,
            "cache": "auto",
            "weights": "",
            "describes_network": True,
            "sources": "",
            "checkpoint": {
                "every_epochs": None,
                "every_steps": None,
                "keep_last": 2,
                "keep_best": 0,
                "keep_final": True,
            },
            "trace": "",
            "extends": "",
            "elastic": False,
        },
        "fingerprint": run.fingerprint,
        "lineage": run.lineage,
    }
    assert re.fullmatch(r"[0-9a-f]{64}", run.fingerprint)
    assert str(plan.folder) == "/data/runs/demo/3"
    assert plan.store_uri == "sqlite:////data/runs/mlflow.db"
    assert (plan.is_search, plan.baseline, plan.settings) == (False, None, ({},))


def test_every_setting_is_trained_on_every_seed(make_plan: MakePlan) -> None:
    """Setting by setting, seeds from `seed` on; runs are named by both."""
    plan = make_plan(seed=4, loss=GRID, search={"seeds": 3})

    assert plan.seeds == (4, 5, 6)
    assert [(run.numbers.loss.label_smoothing, run.numbers.seed) for run in plan.runs] == [
        *[(0.0, 4), (0.0, 5), (0.0, 6)],
        *[(0.1, 4), (0.1, 5), (0.1, 6)],
    ]
    assert plan.runs[4].run_id == "demo/3/label_smoothing=0.1,seed=5"
    assert [run.numbers.seed for run in plan.runs_of(1)] == [4, 5, 6]
    assert {run.setting["loss.label_smoothing"] for run in plan.runs_of(1)} == {0.1}
    assert plan.is_search


def test_networks_of_torchvision_take_colour(make_plan: MakePlan) -> None:
    """Grey images are repeated for them, and keep their one channel for the small network."""
    plans = [make_plan(model={"architecture": name}) for name in ("small_cnn", "resnet18")]

    assert [plan.runs[0].numbers.data.channels for plan in plans] == [1, 3]


def test_a_gpu_is_used_where_there_is_one(make_plan: MakePlan) -> None:
    """One per worker, and then determinism is not asked for unless the spec does."""
    plan = make_plan(cluster=TWO_GPUS, loss=GRID)

    assert (plan.lanes.lanes, plan.lanes.gpus_per_worker, plan.lanes.device) == (2, 1, "cuda")
    assert {run.numbers.device for run in plan.runs} == {"cuda"}
    assert {run.numbers.deterministic for run in plan.runs} == {"false"}


@pytest.mark.parametrize(
    ("asked", "decided"), [(True, "true"), (False, "false"), ("warn", "warn")]
)
def test_determinism_is_as_asked_for(make_plan: MakePlan, asked: Any, decided: str) -> None:
    """On any device."""
    for cluster in (TWO_GPUS, Cluster(nodes=(Node(name="here", cpus=1, gpus=0),))):
        plan = make_plan(cluster=cluster, deterministic=asked)

        assert plan.runs[0].numbers.deterministic == plan.lanes.deterministic == decided


@pytest.mark.parametrize(
    ("sections", "note"),
    [
        (
            {"training": {"early_stopping": {"patience": 2}}},
            "training.early_stopping can stop no run: patience is 2 epochs, training.epochs 3",
        ),
        (
            {"training": {"early_stopping": {"patience": 1}}, "schedule": {"name": "cosine"}},
            "stops after 1 epoch without a better val/accuracy, which cuts the schedule short",
        ),
        (
            {"schedule": {"name": "step", "step_epochs": 3}},
            "the learning rate never falls: schedule.step_epochs is 3, training.epochs 3",
        ),
        (
            {"data": {"batch_size": 1000}},
            "a batch holds all 800 training images: data.batch_size is 1,000",
        ),
        (
            {"model": {"sync_batch_norm": True}},
            "model.sync_batch_norm changes nothing with one worker",
        ),
    ],
)
def test_what_a_technique_does_unexpectedly_is_noted(
    make_plan: MakePlan, sections: dict[str, Any], note: str
) -> None:
    """None of it is a mistake, and none of it is what its author may have meant."""
    assert make_plan(**sections).notes == (note,)


@pytest.mark.parametrize(
    ("section", "selector", "values", "idle"),
    [
        ("optimizer", "name", ["adamw", "sgd"], {"momentum": [0.1, 0.9]}),
        ("optimizer", "name", ["rprop", "sgd"], {"weight_decay": [0.0, 0.2]}),
        ("loss", "label_smoothing", [0.0, 0.1], {"smoothing": ["uniform", "others"]}),
        ("data", "mixup", [0.0, 0.1], {"mix_off_epoch": [2, 3]}),
        ("schedule", "name", ["cosine", "step"], {"step_epochs": [1, 2]}),
        ("model", "architecture", ["small_cnn", "vgg11"], {"head": ["linear", "gap"]}),
    ],
)
def test_a_key_that_a_setting_does_not_read_changes_no_number(
    make_plan: MakePlan, section: str, selector: str, values: list[Any], idle: dict[str, Any]
) -> None:
    """Of two values by two, the two that differ in what they do not read are one training."""
    ((key, others),) = idle.items()

    plan = make_plan(**{section: {selector: {"grid": values}, key: {"grid": others}}})

    numbers = [run.numbers for run in plan.runs]
    assert numbers[0] == numbers[1]
    assert numbers[2] != numbers[3]
    assert len(plan.notes) == 1


def test_gpus_are_left_alone_where_none_is_asked_for(make_plan: MakePlan) -> None:
    """`gpus_per_worker: 0` trains on CPUs and says which GPUs stay idle."""
    plan = make_plan(cluster=TWO_GPUS, resources={"gpus_per_worker": 0}, loss=GRID)

    assert (plan.lanes.device, plan.runs[0].numbers.deterministic) == ("cpu", "true")
    assert plan.notes == ("2 GPUs stay idle: resources.gpus_per_worker is 0",)


def test_an_idle_gpu_is_named_with_the_key_that_uses_it(make_plan: MakePlan) -> None:
    """A single run takes one of two GPUs; a search that is held to one lane does too."""
    single = make_plan(cluster=TWO_GPUS)
    held = make_plan(cluster=TWO_GPUS, loss=GRID, search={"max_concurrent": 1})
    full = make_plan(cluster=TWO_GPUS, loss=GRID)

    assert single.notes == (
        "1 GPU stays idle; resources.num_workers, for several GPUs per run, would use it",
    )
    assert held.notes == ("1 GPU stays idle; a higher search.max_concurrent would use it",)
    few_cpus = Cluster(nodes=(Node(name="here", cpus=1, gpus=3),))
    assert make_plan(cluster=few_cpus, loss=GRID).notes == (
        "2 GPUs stay idle; another resources.num_workers or resources.cpus_per_worker would "
        "use them",
    )
    assert full.notes == ()


def test_a_baseline_that_was_not_drawn_comes_on_top(make_plan: MakePlan) -> None:
    """Two rates are drawn, three are trained; a grid's own baseline needs no word."""
    plan = make_plan(
        optimizer={"lr": {"uniform": [0.1, 0.2]}},
        search={"algorithm": "random", "num_trials": 2, "baseline": {"lr": 0.15}},
    )

    assert len(plan.settings) == 3
    assert plan.notes == ("the baseline is none of the 2 settings drawn; it comes on top",)
    assert make_plan(loss=GRID).notes == ()


def test_workers_and_threads_belong_to_the_numbers(make_plan: MakePlan) -> None:
    """Float sums depend on both."""
    plan = make_plan(
        cluster=Cluster(nodes=(Node(name="here", cpus=8, gpus=0),)),
        resources={"num_workers": 2, "cpus_per_worker": 3},
    )

    numbers = plan.runs[0].numbers
    assert (numbers.world_size, numbers.threads, plan.lanes.lanes) == (2, 3, 1)


def test_too_many_workers_are_refused(make_plan: MakePlan) -> None:
    """The machine's two CPUs hold two workers."""
    with pytest.raises(InfeasibleError, match="set it to 2 at most"):
        make_plan(resources={"num_workers": 3})


def test_more_training_images_than_there_are_are_refused(make_plan: MakePlan) -> None:
    """The file, the key, what there is and what was given."""
    with pytest.raises(SpecError) as caught:
        make_plan(data={"train_size": 801})

    assert str(caught.value) == (
        "<dict>: data.train_size: digits has 800 training images (got 801); "
        "set it to that at most"
    )


@pytest.mark.parametrize(
    ("data", "workers", "message"),
    [
        (
            {"train_size": 65},
            1,
            "<dict>: data.batch_size: the last batch of an epoch has 1 of 64 images, fewer "
            "than 2 for each of 1 worker; set data.drop_last: true or another batch_size",
        ),
        (
            {"train_size": 67},
            2,
            "<dict>: data.batch_size: the last batch of an epoch has 3 of 64 images, fewer "
            "than 2 for each of 2 workers; set data.drop_last: true or another batch_size",
        ),
        (
            {"train_size": 3},
            2,
            "<dict>: data.batch_size: the last batch of an epoch has 3 of 64 images, fewer "
            "than 2 for each of 2 workers; set data.drop_last: true or another batch_size",
        ),
        (
            {"batch_size": 3},
            2,
            "<dict>: data.batch_size: 3 images over 2 workers leave one fewer than 2; "
            "set it to 4 at least",
        ),
        (
            {"train_size": 60, "drop_last": True},
            1,
            "<dict>: data.batch_size: 64 is more than the 60 training images, "
            "and data.drop_last leaves no batch",
        ),
    ],
)
def test_a_batch_too_small_for_its_workers_is_refused(
    make_plan: MakePlan, data: dict[str, Any], workers: int, message: str
) -> None:
    """Batch normalisation needs two images on every worker, in every step."""
    with pytest.raises(SpecError) as caught:
        make_plan(data=data, resources={"num_workers": workers})

    assert str(caught.value) == message


@pytest.mark.parametrize(
    "data",
    [
        {"train_size": 66},
        {"train_size": 65, "drop_last": True},
        {"train_size": 2},
        {"train_size": 64, "drop_last": True},
    ],
)
def test_a_batch_of_two_images_will_do(make_plan: MakePlan, data: dict[str, Any]) -> None:
    """So will a last batch that is dropped, and one batch of everything."""
    assert make_plan(data=data).runs[0].numbers.data.train_size == data["train_size"]


def test_a_setting_that_is_refused_is_named(make_plan: MakePlan) -> None:
    """Of the searched batch sizes it is the second that leaves one image over."""
    with pytest.raises(SpecError) as caught:
        make_plan(data={"train_size": 100, "batch_size": {"grid": [50, 33]}})

    assert str(caught.value) == (
        "<dict>: data.batch_size: the last batch of an epoch has 1 of 33 images, fewer than 2 "
        "for each of 1 worker; set data.drop_last: true or another batch_size, "
        "at data.batch_size=33"
    )


def test_a_dry_run_is_one_short_epoch_of_the_first_seed(make_plan: MakePlan) -> None:
    """Two batches of every setting; the warm-up keeps its share of the one epoch."""
    plan = make_plan(
        limits=Limits(fast_dev_run=2),
        loss=GRID,
        search={"seeds": 5},
        schedule={"name": "one_cycle", "warmup_epochs": 1.5},
    )

    assert plan.seeds == (0,)
    assert [run.numbers.limit_batches for run in plan.runs] == [2, 2]
    assert {run.numbers.training.epochs for run in plan.runs} == {1}
    assert plan.runs[0].numbers.schedule == plans.schedule_plan(warmup_epochs=0.5)


def test_overfitting_keeps_the_epochs(make_plan: MakePlan) -> None:
    """The same batches in every epoch."""
    numbers = make_plan(limits=Limits(overfit_batches=1)).runs[0].numbers

    assert (numbers.overfit_batches, numbers.limit_batches) == (1, None)
    assert numbers.training.epochs == 3


def test_a_store_that_is_named_is_used(make_plan: MakePlan) -> None:
    """A server's address instead of the file beside the runs."""
    plan = make_plan(tracking={"uri": "http://localhost:5000"})

    assert plan.store_uri == "http://localhost:5000"


def test_a_bent_metric_carries_its_caveat(make_plan: MakePlan) -> None:
    """Judging smoothing by the NLL is possible, and the plan says why it is not fair."""
    fair = make_plan(loss=GRID)
    bent = make_plan(loss=GRID, search={"metric": "val/nll", "allow_confounded_metric": True})

    assert fair.caveat == ""
    assert bent.caveat.startswith("loss.label_smoothing bends val/nll by itself: ")
    assert (bent.metric, bent.maximize) == ("val/nll", False)


def test_what_planning_knows_of_a_data_set_is_what_training_loads(make_plan: MakePlan) -> None:
    """Sizes, classes and channels are written down once and found in the images."""
    for data in (
        {"dataset": "digits"},
        {"dataset": "digits", "classes": ["7", "2", "9"]},
        {"dataset": "synthetic", "arguments": {"train_size": 30, "num_classes": 3}},
    ):
        plan = make_plan(data={**data, "batch_size": 10}).runs[0]
        facts = known_facts(load_spec({**SMALLEST, "data": data}).keys.data)

        train = build_data(plan.numbers.data, plan.place, seed=0).train

        assert facts is not None
        assert train.images.shape == (
            facts.train_size,
            facts.channels,
            facts.image_size,
            facts.image_size,
        )
        assert sorted(train.labels.unique().tolist()) == list(range(facts.num_classes))


def test_a_plan_survives_json(make_plan: MakePlan) -> None:
    """What crosses to a lane arrives as it was sent."""
    for run in make_plan(loss=GRID, limits=Limits(overfit_batches=2)).runs:
        assignment = Assignment(plan=run, attempt=2)

        assert RunPlan.from_json(json.loads(json.dumps(run.to_json()))) == run
        assert Assignment.from_json(assignment.to_json()) == assignment


def test_a_plan_of_other_code_is_refused(make_plan: MakePlan) -> None:
    """An unknown field and a missing one both mean that the two sides differ."""
    values = make_plan().runs[0].to_json()
    unknown = {**values, "numbers": {**values["numbers"], "mixup": 0.2}}
    missing = {key: value for key, value in values.items() if key != "metric"}

    with pytest.raises(TypeError, match="unexpected keyword argument 'mixup'"):
        RunPlan.from_json(unknown)
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'metric'"):
        RunPlan.from_json(missing)


def test_a_search_plan_is_plain_json(make_plan: MakePlan) -> None:
    """The journal keeps it as it is."""
    plan = make_plan(loss=GRID)

    values = json.loads(json.dumps(plan.to_json()))

    assert values["folder"] == "/data/runs/demo/3"
    assert values["baseline"] == {"loss.label_smoothing": 0.0}
    assert RunPlan.from_json(values["runs"][1]) == plan.runs[1]


def test_plans_are_frozen(make_plan: MakePlan) -> None:
    """A changed plan is another plan."""
    run = make_plan().runs[0]

    other = replace(run, metric="val/nll")

    assert (run.metric, other.metric) == ("val/accuracy", "val/nll")
    with pytest.raises(AttributeError):
        run.metric = "val/nll"  # type: ignore[misc]
