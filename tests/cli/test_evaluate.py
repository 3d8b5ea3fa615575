"""`evaluate` and `features` as they are typed: what they print, and their exit status."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.cli.evaluate import describe_evaluation
from orchestrator.cli.main import run_command_line
from orchestrator.recorded.evaluation import Evaluation
from orchestrator.tracking.record import RunRecord
from orchestrator.training.rescoring import RescoredRun
from orchestrator.training.scores import Scores

ROOT = Path(__file__).parents[2]
SPEC = """\
name: small
data: {dataset: digits, train_size: 80}
model: {architecture: small_cnn}
training: {epochs: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment that was run."""
    made = tmp_path_factory.mktemp("user")
    (made / "small.yaml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("ORCHESTRATOR_STORAGE", raising=False)
        assert run_command_line(["run", "small.yaml", "--in-process"]) == 0
    return made


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every command is typed in that folder; the process is left as it was."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("ORCHESTRATOR_STORAGE", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


def features(*arguments: str, out: str = "f") -> int:
    """Exit status of `features` with the usual beginning."""
    return run_command_line(
        ["features", "small.yaml", "--run", "small@best", "--out", out, *arguments]
    )


def test_evaluate_prints_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """All metrics, whether they are the recorded ones, every class, the confusion matrix."""
    assert run_command_line(["evaluate", "small@best"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("small/1/seed=0: 700 images of val, last.safetensors, on cpu\n\n")
    for name in ("accuracy", "top5", "nll_calibrated", "temperature", "ece_adaptive", "brier"):
        assert f"\n  val/{name} " in said
    assert "\nas recorded, to the last digit\n" in said
    assert "\n  class  images " in said
    assert "\n  true \\ named  " in said


def test_evaluate_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program gets all digits, and nothing but JSON."""
    assert run_command_line(["evaluate", "small/seed=0", "--split", "test", "--json"]) == 0

    values = json.loads(capsys.readouterr().out)
    assert (values["split"], values["images"]) == ("test", 297)
    assert len(values["metrics"]) == 10
    assert len(values["confusion"]) == len(values["classes"]) == 10


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["tiny@best"], 2, "no search of the name 'tiny' under "),
        (["small@best", "--split", "tset"], 2, "'tset' is not one of 'train', 'val', 'test'"),
        (["small/seed=7"], 2, "small/seed=7: no such run; there are seed=0"),
        (["small@best", "--storage", "nowhere"], 2, "no search of the name 'small' under "),
    ],
)
def test_typos_of_evaluate(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, without a traceback."""
    assert run_command_line(["evaluate", *arguments]) == status
    assert message in capsys.readouterr().err


def test_features_are_written_and_probed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for each layer in the order asked for; then the probe's, with its interval."""
    assert features("--layers", "head, features.6", "--pool", "--probe", "linear") == 0

    said = capsys.readouterr()
    assert said.out.startswith(
        "small/1/seed=0 (last.safetensors) on digits: train 80, val 700 images\n"
        "\n"
        "  layer       shape  file\n"
        "  ─────────────────────────────────\n"
        "  head        10     head.npy\n"
        "  features.6  32     features.6.npy\n"
        "\n"
        "written to f\n"
        "\n"
        "logistic regression, fitted on train, scored on val\n"
        "\n"
        "  layer       shape  accuracy %   95 % interval\n"
    )
    assert said.err == ""
    accuracies = [line.split()[2] for line in said.out.splitlines()[-2:]]
    written = json.loads((folder / "f" / "probe.json").read_text())["layers"]
    assert accuracies == [f"{100 * written[name]['accuracy']:.1f}" for name in written]
    assert np.load(folder / "f" / "head.npy").shape == (780, 10)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--layers", "haed"],
            2,
            "--layers: SmallCNN has no layer 'haed'; did you mean 'head'?",
        ),
        (["--layers", ","], 2, "--layers names nothing"),
        (
            ["--layers", "head", "--split", "vall"],
            2,
            "--split: there are train, val, test, all",
        ),
        (
            ["--layers", "head", "--split", "test", "--probe", "knn"],
            2,
            "leave --split test out",
        ),
        (["--layers", "head", "data.train_sizes=3"], 2, "did you mean 'train_size'?"),
        (["--layers", "head", "--workers", "1000"], 3, "--workers: 1000 workers of 1 CPU each"),
        (["--layers", "head", "--out", "."], 2, "is not empty; name another folder"),
        (["--layers", "head", "--run", "tiny@best"], 2, "no search of the name 'tiny'"),
    ],
)
def test_typos_of_features(
    arguments: list[str],
    status: int,
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is wrong, without a traceback, and nothing is left behind."""
    assert features(*arguments, out="never") == status

    assert message in capsys.readouterr().err
    assert not list(folder.glob("*never*"))
    assert not list(folder.glob(".*part"))


@pytest.mark.parametrize(("split", "rows"), [("test,train", 377), ("all", 1077)])
def test_several_parts_at_once(split: str, rows: int, folder: Path) -> None:
    """One array for all of them."""
    assert features("--layers", "head", "--split", split, out=f"parts-{rows}") == 0

    assert len(np.load(folder / f"parts-{rows}" / "labels.npy")) == rows


@pytest.mark.slow
def test_two_ray_workers_write_what_one_does(folder: Path) -> None:
    """Each image once, the rows of one process, nothing left of Ray or beside the folder."""
    assert features("--layers", "features.2,head", out="alone") == 0
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    said = subprocess.run(
        [
            *(sys.executable, "-m", "orchestrator", "features", "small.yaml", "--run"),
            *("small@best", "--layers", "features.2,head", "--out", "shared", "--workers", "2"),
        ],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert (said.returncode, said.stderr) == (0, "")
    assert not list(folder.glob(".*part"))
    for name in ("ids", "labels", "features.2", "head"):
        alone, shared = (np.load(folder / f / f"{name}.npy") for f in ("alone", "shared"))
        assert np.allclose(alone, shared, atol=1e-5)


def make_evaluation(names: tuple[str, ...], *, recorded: float | None = None) -> Evaluation:
    """One image of each class, all right."""
    count = len(names)
    confusion = tuple(tuple(int(i == j) for j in range(count)) for i in range(count))
    scores = Scores(
        samples=count,
        accuracy=1.0,
        top5=1.0,
        balanced_accuracy=1.0,
        macro_f1=1.0,
        nll=0.25,
        nll_calibrated=0.25,
        temperature=1.0,
        ece=0.0,
        ece_adaptive=0.0,
        brier=0.0,
        recall=(1.0,) * count,
        confusion=confusion,
    )
    run = RunRecord(
        run_id="a/1/seed=0",
        setting={},
        seed=0,
        status="finished",
        metrics={} if recorded is None else {"val/nll": recorded},
        history=(),
        duration_s=1.0,
        weights_sha256="",
        error="",
        traceback="",
    )
    rescored = RescoredRun(
        metrics={"val/accuracy": 1.0, "val/nll": 0.25},
        scores=scores,
        classes=names,
        weights=Path("last.safetensors"),
        device="cpu",
    )
    return Evaluation(run=run, part="val", rescored=rescored)


def test_many_classes_are_cut_to_the_lowest() -> None:
    """Of a thousand classes twenty rows, and no matrix."""
    said = describe_evaluation(make_evaluation(tuple(map(str, range(1000)))))

    assert "  the 20 lowest of 1000 classes; --json has them all\n" in said
    assert "true \\ named" not in said
    assert said.count("100.0 %") == 20


def test_long_names_are_numbers_in_the_matrix() -> None:
    """Its columns stay narrow, and its rows say which number is which class."""
    names = tuple(f"a long name of class {letter}" for letter in "abcdef")

    said = describe_evaluation(make_evaluation(names))

    assert "\n  2 a long name of class c  ·  ·  1  ·  ·  ·\n" in said


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        (0.25, "as recorded, to the last digit"),
        (0.25 - 1e-6, "not as recorded to the last digit: val/nll differs by +1.0e-06; "),
        (None, "class"),
    ],
)
def test_the_record_is_confirmed_or_not(recorded: float | None, text: str) -> None:
    """A difference is named with its size; where nothing is recorded nothing is claimed."""
    said = describe_evaluation(make_evaluation(("x", "y"), recorded=recorded))

    assert f"\n{text}" in said or f"\n  {text}" in said
    assert ("recorded" in said) == (recorded is not None)
