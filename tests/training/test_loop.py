"""One training from its plan to its result: the same numbers, whoever writes the loop."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from orchestrator.errors import NonFiniteLossError, TrainingError
from orchestrator.planning.run_plan import Assignment
from orchestrator.planning.section_plans import GroupPlan, NormalizePlan
from orchestrator.training.context import configure_process
from orchestrator.training.data.build import build_data
from orchestrator.training.loop import train
from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.outputs import digest_weights
from tests.device import DEVICE, on_cpu_alone

HEAD_FASTER = (
    GroupPlan(name="head", match=None, type=None, head=True, lr=0.2, weight_decay=5e-4),
    GroupPlan(name="rest", match=".*", type=None, head=False, lr=0.1, weight_decay=5e-4),
)
MakeAssignment = Callable[..., Assignment]
NewWorker = Callable[[], Any]


def write_the_loop_by_hand(assignment: Assignment) -> tuple[str, float]:
    """Plain PyTorch, as one would write it; from the tool come the images alone.

    Returns:
        SHA-256 of the final weights, and the accuracy on the validation images.
    """
    numbers = assignment.plan.numbers
    data = build_data(numbers.data, assignment.plan.place, seed=numbers.seed)
    images, labels = data.train.images.float() / 255, data.train.labels

    torch.manual_seed(first_bytes(f"{numbers.seed}/initialization"))
    model = nn.Module()
    model.features = nn.Sequential(
        *[nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()],
        *[nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()],
        nn.MaxPool2d(2),
        *[nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    model.head = nn.Linear(32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    steps = numbers.training.epochs * -(-len(labels) // numbers.data.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=steps, cycle_momentum=False
    )
    for epoch in range(1, numbers.training.epochs + 1):
        generator = torch.Generator().manual_seed(first_bytes(f"{numbers.seed}/order/{epoch}"))
        order = torch.randperm(len(labels), generator=generator)
        for batch in order.split(numbers.data.batch_size):
            scores = model.head(model.features(images[batch]))
            optimizer.zero_grad()
            functional.cross_entropy(scores, labels[batch], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        scores = model.head(model.features(data.val.images.float() / 255))
    accuracy = (scores.argmax(dim=1) == data.val.labels).double().mean().item()
    return hash_weights(model), accuracy


def first_bytes(text: str) -> int:
    """The leading 63 bits of a text's SHA-256."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) // 2


def hash_weights(model: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor."""
    text = b""
    for name, tensor in model.state_dict().items():
        text += f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode()
        text += tensor.numpy().tobytes()
    return hashlib.sha256(text).hexdigest()


def read_predictions(assignment: Assignment) -> dict[str, np.ndarray]:
    """The arrays that a run left in its folder."""
    with np.load(Path(assignment.plan.place.folder) / "predictions.npz") as stored:
        return dict(stored)


@on_cpu_alone
def test_a_loop_written_by_hand_gives_the_same_weights(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """Bit for bit, buffers included: the tool adds nothing to PyTorch, nor leaves any out."""
    assignment = make_assignment(training={"epochs": 3})

    result = train(assignment, worker.context)

    weights, accuracy = write_the_loop_by_hand(assignment)
    assert result.weights_sha256 == weights
    assert result.metrics["val/accuracy"] == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_training_is_repeated_bit_for_bit(
    make_assignment: MakeAssignment, new_worker: NewWorker, loader_workers: int
) -> None:
    """Whatever was drawn before and however batches are loaded, metrics and weights agree."""
    first, second = new_worker(), new_worker()

    once = train(make_assignment(), first.context)
    torch.rand(10)
    again = train(make_assignment(place={"loader_workers": loader_workers}), second.context)

    assert again == once
    assert second.reports == first.reports


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"loss": {"label_smoothing": 0.2}},
        {"data": {"label_noise": 0.0}},
        {"data": {"drop_last": True}},
        {"fine_tune": {"groups": HEAD_FASTER}},
        {"optimizer": {"name": "adamw", "arguments": {}}},
        {"schedule": {"name": "cosine"}},
        {"schedule": {"warmup_epochs": 1.0}},
    ],
    ids=str,
)
def test_every_key_reaches_the_weights(
    make_assignment: MakeAssignment, new_worker: NewWorker, change: dict[str, object]
) -> None:
    """A value that training would ignore is a bug."""
    usual = train(make_assignment(), new_worker().context)
    changed = train(make_assignment(**change), new_worker().context)

    assert changed.weights_sha256 != usual.weights_sha256


def test_every_epoch_is_reported(make_assignment: MakeAssignment, worker: Any) -> None:
    """Epochs count from 1; the rate is the one that the epoch began with: 1/25 of the peak."""
    result = train(make_assignment(training={"epochs": 3}), worker.context)

    assert [epoch for epoch, _ in worker.reports] == [1, 2, 3]
    first = worker.reports[0][1]
    assert sorted(first) == ["train/loss", "train/lr", "val/accuracy", "val/nll", "val/top5"]
    assert first["train/lr"] == pytest.approx(0.1 / 25)
    assert result.status == "finished"
    assert worker.reports[-1][1].items() <= result.metrics.items()


def test_a_stop_verdict_ends_the_run_after_its_epoch(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """It is stopped, nothing counts, and no predictions are left."""
    worker.verdicts = ["continue", "stop"]

    result = train(assignment := make_assignment(training={"epochs": 4}), worker.context)

    assert (result.status, result.metrics, result.weights_sha256) == ("stopped", {}, "")
    assert len(worker.reports) == 2
    assert not Path(assignment.plan.place.folder).exists()


def test_a_stop_after_the_last_epoch_comes_too_late(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """The run has finished."""
    worker.verdicts = ["continue", "stop"]

    assert train(make_assignment(training={"epochs": 2}), worker.context).status == "finished"


def test_a_request_stops_a_run_between_two_steps(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """80 images in batches of 32 are three steps, so the fifth falls into the second epoch.

    That epoch is not reported.
    """
    worker.steps_until_stop = 5

    result = train(make_assignment(training={"epochs": 4}), worker.context)

    assert result.status == "stopped"
    assert [epoch for epoch, _ in worker.reports] == [1]


def test_a_loss_that_is_no_number_names_its_step(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """The first step's loss is finite, its update is not, so step 2 is the first to break."""
    assignment = make_assignment(optimizer={"lr": 1e30}, schedule={"name": "constant"})

    with pytest.raises(NonFiniteLossError) as caught:
        train(assignment, worker.context)

    assert str(caught.value) == (
        "the loss turned to nan in step 2 of epoch 1 (step 2 of the run); "
        "a smaller optimizer.lr or a longer schedule.warmup_epochs may help"
    )
    assert worker.reports == []


def test_weights_broken_by_the_last_step_are_named_too(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """One step an epoch: its loss is finite, and only the validation shows what it did."""
    assignment = make_assignment(
        training={"epochs": 1},
        data={"batch_size": 80},
        optimizer={"lr": 1e30},
        schedule={"name": "constant"},
    )

    with pytest.raises(NonFiniteLossError) as caught:
        train(assignment, worker.context)

    assert str(caught.value) == (
        "val/nll turned to nan after epoch 1; "
        "a smaller optimizer.lr or a longer schedule.warmup_epochs may help"
    )
    assert worker.reports == []


@pytest.mark.parametrize(
    ("metric", "maximize"), [("val/accuracy", True), ("val/nll", False), ("train/lr", True)]
)
def test_the_best_epoch_counts_where_it_is_asked_for(
    make_assignment: MakeAssignment, worker: Any, metric: str, maximize: bool
) -> None:
    """Its metrics, its number and its predictions; the first one where several are equal."""
    assignment = make_assignment(
        select="best", metric=metric, maximize=maximize, training={"epochs": 4}
    )

    result = train(assignment, worker.context)

    values = [metrics[metric] for _, metrics in worker.reports]
    best = values.index((max if maximize else min)(values))
    counted = {**worker.reports[best][1], "best_epoch": best + 1}
    assert {key: result.metrics[key] for key in counted} == pytest.approx(counted, rel=1e-12)
    stored = read_predictions(assignment)
    accuracy = (stored["logits"].argmax(axis=1) == stored["labels"]).mean()
    assert accuracy == pytest.approx(result.metrics["val/accuracy"], abs=1e-12)


def test_predictions_are_kept_by_sample(make_assignment: MakeAssignment, worker: Any) -> None:
    """700 validation images, ordered by id; accuracy and NLL follow from them."""
    result = train(assignment := make_assignment(), worker.context)

    stored = read_predictions(assignment)
    logits, labels = stored["logits"].astype(np.float64), stored["labels"]
    assert {name: (a.dtype.name, a.shape) for name, a in stored.items()} == {
        "logits": ("float32", (700, 10)),
        "labels": ("int64", (700,)),
        "ids": ("int64", (700,)),
    }
    assert (np.diff(stored["ids"]) > 0).all()
    nll = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(700), labels]
    assert (logits.argmax(axis=1) == labels).mean() == pytest.approx(
        result.metrics["val/accuracy"], abs=1e-12
    )
    assert nll.mean() == pytest.approx(result.metrics["val/nll"], rel=1e-9)


def test_a_run_leaves_what_can_be_read_without_this_tool(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """Weights of every name, classes in the order of their indices, every score."""
    result = train(assignment := make_assignment(), worker.context)

    folder = Path(assignment.plan.place.folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.json",
        "last.safetensors",
        "predictions.npz",
        "scores.json",
    ]
    model = SmallCNN(channels=1, num_classes=10)
    model.load_state_dict(load_file(folder / "last.safetensors"))
    assert hash_weights(model) == result.weights_sha256
    classes = json.loads((folder / "classes.json").read_text())
    assert classes == {str(digit): digit for digit in range(10)}
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["accuracy"] == result.metrics["val/accuracy"]
    assert sum(map(sum, scores["confusion"])) == 700


def test_the_best_epochs_weights_are_kept_beside_the_last(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """Scored again, they have the accuracy of the best epoch and of the last."""
    assignment = make_assignment(
        select="best", metric="train/lr", maximize=True, training={"epochs": 3}
    )

    train(assignment, worker.context)

    data = build_data(assignment.plan.numbers.data, assignment.plan.place, seed=3)
    found = []
    for name in ("best", "last"):
        model = SmallCNN(channels=1, num_classes=10).eval()
        folder = Path(assignment.plan.place.folder)
        model.load_state_dict(load_file(folder / f"{name}.safetensors"))
        with torch.no_grad():
            named = model(data.val.images.float() / 255).argmax(dim=1)
        found.append((named == data.val.labels).double().mean().item())
    reported = [metrics["val/accuracy"] for _, metrics in worker.reports]
    rates = [metrics["train/lr"] for _, metrics in worker.reports]
    assert found == pytest.approx([reported[rates.index(max(rates))], reported[-1]], abs=1e-12)


def test_a_dry_run_trains_as_many_batches_as_asked_for(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """One batch is one step, which a request after it would stop; nothing is written."""
    worker.steps_until_stop = 2

    result = train(
        assignment := make_assignment(limit_batches=1, training={"epochs": 1}), worker.context
    )

    assert (result.status, worker.steps_until_stop) == ("finished", 1)
    assert not Path(assignment.plan.place.folder).exists()


def test_overfitting_repeats_the_same_batches(
    make_assignment: MakeAssignment, worker: Any
) -> None:
    """One batch of 32, seen thirty times at a constant rate, is learned almost by heart."""
    assignment = make_assignment(
        overfit_batches=1,
        training={"epochs": 30},
        loss={"label_smoothing": 0.0},
        schedule={"name": "constant"},
    )

    train(assignment, worker.context)

    losses = [metrics["train/loss"] for _, metrics in worker.reports]
    assert losses[0] > 2
    assert losses[-1] < 0.1


def test_a_digest_covers_names_parameters_and_buffers() -> None:
    """A counter of batch normalisation, one weight's last bit or a name changes it."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    digests = [digest_weights(model), digest_weights(model)]
    buffers = dict(model.named_buffers())
    buffers["1.num_batches_tracked"].add_(1)
    digests.append(digest_weights(model))
    with torch.no_grad():
        weight = next(model.parameters())
        weight.copy_(torch.nextafter(weight, torch.tensor(torch.inf)))
    digests.append(digest_weights(model))
    digests.append(digest_weights(nn.ModuleDict({"a": model[0], "b": model[1]})))

    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert digests[3] == hash_weights(model)


def test_a_run_needs_nothing_of_its_setting_or_its_folder(
    make_assignment: MakeAssignment, new_worker: NewWorker, tmp_path: Path
) -> None:
    """Names, attempts and places change no weight."""
    assignment = make_assignment()
    plan = assignment.plan
    elsewhere = replace(plan.place, folder=str(tmp_path / "elsewhere"))
    other = Assignment(
        plan=replace(plan, run_id="a/2/b", setting={"x": 1}, place=elsewhere), attempt=2
    )

    assert train(other, new_worker().context) == train(assignment, new_worker().context)


@pytest.mark.parametrize(
    "data",
    [
        {"normalize": NormalizePlan(by="given", mean=(0.449,), std=(0.226,))},
        {"dataset": "synthetic", "arguments": {}, "channels": 3, "image_size": 32},
        {"classes": ("3", "8"), "num_classes": 2, "train_size": 60},
    ],
)
def test_every_kind_of_data_is_trained_on(
    make_assignment: MakeAssignment, worker: Any, data: dict[str, Any]
) -> None:
    """Grey images by one number, made-up ones by their defaults, two classes of ten."""
    result = train(make_assignment(data=data, training={"epochs": 1}), worker.context)

    assert result.status == "finished"


SCATTERED = """
import torch
from torch import nn

class Scattered(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        flat = images.flatten(1).clone()
        if len(images) > 2:
            places = torch.arange(flat.numel())
            flat.put_(places, flat.flatten().clone(), accumulate=False)
        return self.head(flat)
"""


@on_cpu_alone
def test_an_operator_without_a_deterministic_form_is_named(
    make_assignment: MakeAssignment, worker: Any, tmp_path: Path
) -> None:
    """With a way out; `warn` names it and goes on."""
    (tmp_path / "scattered.py").write_text(SCATTERED)
    assignment = make_assignment(
        model={"architecture": "scattered:Scattered"}, place={"sources": str(tmp_path)}
    )

    with pytest.raises(TrainingError, match=r"^deterministic: put_ has no .* form on cpu; use"):
        train(assignment, worker.context)

    configure_process(threads=1, deterministic="warn", device=DEVICE)
    with pytest.warns(UserWarning, match="put_ does not have a deterministic implementation"):
        assert train(assignment, worker.context).status == "finished"


def test_unreadable_images_may_leave_too_few_for_the_parts_of_a_batch(
    make_assignment: MakeAssignment, worker: Any, tmp_path: Path
) -> None:
    """Of 24 images 19 can be read: one of the last three's four parts would have none."""
    for part, count in (("train", 12), ("val", 2)):
        for name in ("a", "b"):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("L", (8, 8), 10 * number).save(folder / f"{number}.png")
    for number in range(5):
        (tmp_path / "images" / "train" / "a" / f"{number}.png").write_bytes(b"")
    assignment = make_assignment(
        data={
            "dataset": "image_folder",
            "num_classes": 2,
            "batch_size": 16,
            "train_size": 24,
            "on_corrupt": "skip",
        },
        training={"accumulate": 4},
        place={"data_root": str(tmp_path / "images"), "cache": "off"},
    )
    message = (
        r"^data\.batch_size: without 5 unreadable images the last batch of an epoch has 3, "
        r"fewer than 2 for each part \(training\.accumulate\) of each worker; set data\."
    )

    with pytest.raises(TrainingError, match=message):
        train(assignment, worker.context)
