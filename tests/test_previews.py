"""What torch says of a plan before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import run_command_line
from orchestrator.errors import SpecError
from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.resolve import resolve_search
from orchestrator.previews import needs_preview, preview_runs
from orchestrator.specs.load import load_spec
from orchestrator.training.preview import Preview
from tests.plans import DIGITS

HERE = Cluster(nodes=(Node(name="here", cpus=2, gpus=0),))


def preview(**sections: Any) -> list[Preview]:
    """Look at an experiment on digits."""
    values: dict[str, Any] = {
        "name": "x",
        "data": {"dataset": "digits"},
        "model": {"architecture": "small_cnn"},
        "training": {"epochs": 3},
    }
    for key, value in sections.items():
        values[key] = {**values.get(key, {}), **value}
    spec = load_spec(values)
    plan = resolve_search(spec, HERE, storage=Path("/data"), number=1, inputs=DIGITS)
    assert needs_preview(plan.runs) is (len(sections) > 0)
    return preview_runs(spec, plan.runs, sources="")


def test_the_small_network_is_counted() -> None:
    """Three convolutions without bias, three normalisations and a linear layer."""
    (seen,) = preview()

    parameters = 9 * (16 + 16 * 32 + 32 * 32) + 2 * (16 + 32 + 32) + 32 * 10 + 10
    assert seen.summary.parameters == seen.trainable == parameters
    assert seen.rows() == [
        (
            "network",
            "14,458 parameters, 14,458 of them learn, 0.5 million multiply-adds per image",
        )
    ]


def test_groups_are_shown_with_their_sizes() -> None:
    """Tensors, parameters, rates and when they begin; frozen ones do not learn."""
    (seen,) = preview(
        fine_tune={
            "groups": [
                {"match": "^head", "lr": 0.1},
                {"match": "^features.0", "freeze": True},
                {"match": ".*", "lr": 0.01},
            ],
            "unfreeze": [{"epoch": 2, "match": r"^features\.7", "lr": 0.05}],
        }
    )

    assert [text for title, text in seen.rows() if title == "group"] == [
        "^features.0: 1 tensor, 144 parameters, frozen",
        ".*: 7 tensors, 4,768 parameters, lr 0.01, weight decay 0",
        r"^features\.7 (epoch 2): 1 tensor, 9,216 parameters, lr 0.05, weight decay 0, "
        "from epoch 2",
        "^head: 2 tensors, 330 parameters, lr 0.1, weight decay 0",
    ]
    assert seen.trainable == seen.summary.parameters - 144


def test_each_different_network_is_looked_at_once() -> None:
    """Of two architectures and two values of smoothing there are two networks."""
    pytest.importorskip("torchvision")

    seen = preview(
        model={"architecture": {"grid": ["small_cnn", "squeezenet1_0"]}},
        loss={"label_smoothing": {"grid": [0, 0.1]}},
        data={"image_size": 32},
    )

    assert [found.architecture for found in seen] == ["small_cnn", "squeezenet1_0"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"fine_tune": {"groups": [{"match": "^head", "lr": 1.0}]}},
            "<dict>: fine_tune.groups: 9 parameters match no rule, such as ",
        ),
        (
            {"optimizer": {"arguments": {"betas": [0.9, 0.9]}}},
            "<dict>: optimizer.arguments.betas: no such argument; torch's sgd takes momentum, ",
        ),
        (
            {"data": {"transforms": [{"ColorJitter": {"hue": 3}}]}},
            "<dict>: data.transforms: ",
        ),
        (
            {"fine_tune": {"head_lr": 0.0, "backbone_lr": 1.0, "linear_probe_epochs": 1}},
            "<dict>: fine_tune: nothing learns in epoch 1; give a group a rate",
        ),
        (
            {"optimizer": {"name": "adamw", "arguments": {"betas": [0.9]}}},
            "<dict>: optimizer.arguments: torch's adamw: ",
        ),
        (
            {"model": {"initialization": "zero_last_bn"}},
            "<dict>: model.initialization: small_cnn has no residual branch",
        ),
        (
            {"model": {"architecture": "resnet18", "weights": "IMAGENET1K_V9"}},
            "<dict>: model.weights: torchvision has no 'IMAGENET1K_V9' for resnet18; it has "
            "'IMAGENET1K_V1'",
        ),
        (
            {"model": {"architecture": "inception_v3"}},
            "<dict>: data.image_size: inception_v3 ",
        ),
    ],
)
def test_what_every_run_would_fail_of_is_refused(
    sections: dict[str, Any], message: str
) -> None:
    """One line, with the key and its place."""
    pytest.importorskip("torchvision")

    with pytest.raises(SpecError) as caught:
        preview(**sections)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_refused_network_takes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` ends before a folder is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_STORAGE", str(tmp_path / "runs"))
    Path("x.yaml").write_text(
        "name: x\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
        "training: {epochs: 1}\nfine_tune: {groups: [{match: nothing, lr: 1}]}\n"
    )

    assert run_command_line(["run", "x.yaml", "--in-process"]) == 2

    assert capsys.readouterr().err.startswith(
        "x.yaml:5:21: fine_tune.groups: rule 1, 'nothing',"
    )
    assert not (tmp_path / "runs" / "x").exists()


def test_summary_prints_layers_and_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row per layer, a row per group."""
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(
        "name: x\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
        "training: {epochs: 1}\nfine_tune: {backbone_lr: 0.01, head_lr: 1}\n"
    )

    assert run_command_line(["summary", "x.yaml"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small_cnn"
    assert any(line.split() == ["head", "Linear", "1×10", "330", "320"] for line in lines)
    assert lines[-2].split() == ["backbone", "9", "14,128", "0.01", "0", "1"]
    assert lines[-1].split() == ["head", "2", "330", "1", "0", "1"]


LOSSES = """
def fails(logits, targets, *, gamma):
    return gamma * logits.nothing()


def detached(logits, targets):
    return logits.detach().mean()


def per_image(logits, targets):
    return logits.sum(dim=1)
"""


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "{name: 'losses_of_mine:fails', arguments: {gamma: 1}}",
            "losses_of_mine:fails fails (",
        ),
        ("{name: 'losses_of_mine:fails'}", "losses_of_mine:fails fails (TypeError: "),
        (
            "{name: 'losses_of_mine:detached'}",
            "returns a loss that does not depend on the logits",
        ),
        ("{name: 'losses_of_mine:per_image'}", "must return the mean loss of a batch"),
        (
            "{name: {grid: [cross_entropy, 'losses_of_mine:per_image']}}",
            "must return the mean loss of a batch",
        ),
    ],
)
def test_ones_own_loss_is_tried_before_anything_starts(
    loss: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once, on two images; what it raises is one line with the place of the key."""
    monkeypatch.chdir(tmp_path)
    Path("losses_of_mine.py").write_text(LOSSES)
    Path("x.yaml").write_text(
        "name: x\ndata: {dataset: digits}\nmodel: {architecture: small_cnn}\n"
        f"training: {{epochs: 1}}\nloss: {loss}\n"
    )

    assert run_command_line(["plan", "x.yaml"]) == 2

    said = capsys.readouterr().err
    column = 22 if "grid" in loss else 14
    assert said.startswith(f"x.yaml:5:{column}: loss.name: ")
    assert message in said
    assert "Traceback" not in said


def test_a_normalisation_that_cannot_be_shared_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where two workers would share it; one alone leaves every layer as it is."""
    monkeypatch.chdir(tmp_path)
    Path("net_of_mine.py").write_text(
        "from torch import nn\n\n\nclass Doubles(nn.BatchNorm2d):\n"
        "    def forward(self, images):\n        return 2 * super().forward(images)\n\n\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(Doubles(1), nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    Path("x.yaml").write_text(
        "name: x\ndata: {dataset: digits}\ntraining: {epochs: 1}\n"
        "model: {architecture: 'net_of_mine:net', sync_batch_norm: true}\n"
    )

    assert run_command_line(["plan", "x.yaml"]) == 0
    assert run_command_line(["plan", "x.yaml", "resources.num_workers=2"]) == 2

    said = capsys.readouterr().err
    assert said.startswith("x.yaml:4:59: model.sync_batch_norm: 0 is a Doubles, whose forward")
