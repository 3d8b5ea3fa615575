"""The command line without a training: what each command prints, and its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import run_command_line

ROOT = Path(__file__).parents[2]
SPEC = """\
name: small
data: {dataset: digits, train_size: 80}
model: {architecture: small_cnn}
loss: {label_smoothing: {grid: [0, 0.1]}}
training: {epochs: 1}
search: {seeds: 2}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small experiment in the current, otherwise empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("ORCHESTRATOR_STORAGE", raising=False)
    Path("small.yaml").write_text(SPEC)
    return "small.yaml"


def test_validate_says_what_is_searched(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound file gets one line and status 0."""
    assert run_command_line(["validate", spec]) == 0
    assert capsys.readouterr().out == "small.yaml: ok, small, searches loss.label_smoothing\n"


def test_a_typo_is_one_line_with_its_place(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown key exits 2 and names the nearest one."""
    Path(spec).write_text(SPEC + "trainin: 3\n")

    assert run_command_line(["run", spec]) == 2
    assert capsys.readouterr().err == (
        "small.yaml:7:1: trainin: no such key; did you mean 'training'?\n"
    )


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_what_no_machine_could_train_is_refused_by_the_file_alone(
    command: str, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A last batch of one image, at the second of the searched sizes; nothing is started."""
    sizes = "data.batch_size={grid: [50, 33]}"
    assert run_command_line([command, spec, "data.train_size=100", sizes]) == 2

    assert capsys.readouterr().err == (
        f"override '{sizes}': data.batch_size: the last batch of an epoch has 1 of 33 images, "
        "fewer than 2 for each of 1 worker; set data.drop_last: true or another batch_size, "
        "at data.batch_size=33\n"
    )


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_a_missing_file_exits_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that takes a file says so in one line."""
    assert run_command_line([command, "nowhere.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nowhere.yaml: ")
    assert error.count("\n") == 1


def test_plan_numbers_every_run_and_starts_nothing(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan shows settings, seeds, runs, lanes and folders; no folder is made."""
    assert run_command_line(["plan", spec]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "small#1\n  settings   2: loss.label_smoothing = 0 (baseline), 0.1\n"
    )
    assert "  1  label_smoothing=0,seed=0\n" in said
    assert "  4  label_smoothing=0.1,seed=1\n" in said
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


def test_dry_run_is_plan(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`run --dry-run` prints the same, as text and as JSON."""
    texts = []
    for arguments in (["plan", spec], ["run", spec, "--dry-run"]):
        assert run_command_line(arguments) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    for arguments in (["plan", spec, "--json"], ["run", spec, "--dry-run", "--json"]):
        assert run_command_line(arguments) == 0
        texts.append(capsys.readouterr().out)
    assert texts[2] == texts[3]
    assert len(json.loads(texts[2])["runs"]) == 4


def test_more_workers_than_cpus_exit_3(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What can never fit is refused at once, with the number to change."""
    assert run_command_line(["run", spec, "resources.num_workers=1000"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("resources.num_workers: 1000 workers of 1 CPU each do not fit")
    assert error.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["small.yaml"]


def test_more_gpus_than_there_are_exit_3(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So are GPUs."""
    assert run_command_line(["run", spec, "resources.gpus_per_worker=1"]) == 3
    assert (
        "resources.gpus_per_worker: no machine has 1 GPU (this machine with "
        in capsys.readouterr().err
    )


def test_storage_that_cannot_be_written_exits_3(
    spec: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A storage path below a regular file is refused before Ray starts."""
    monkeypatch.setenv("ORCHESTRATOR_STORAGE", "small.yaml/runs")

    assert run_command_line(["run", spec]) == 3
    error = capsys.readouterr().err
    assert error.startswith("storage_path: cannot write to ")
    assert error.count("\n") == 1


def test_a_store_that_is_no_database_exits_3(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """So is an MLflow store that SQLite cannot open."""
    Path("broken.db").write_text("this is text, not a database\n" * 100)

    assert run_command_line(["run", spec, "tracking.uri=sqlite:///broken.db"]) == 3
    assert "tracking.uri: cannot write MLflow's store" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_several_workers_cannot_train_in_process(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--in-process` has one worker, and says which key to change."""
    arguments = ["run", spec, "--in-process", "resources.num_workers=2"]
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers do not fit on this machine")

    assert run_command_line(arguments) == 3
    assert "--in-process trains with one worker" in capsys.readouterr().err


def test_a_run_number_outside_the_plan_exits_2(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--run` takes the numbers that `plan` prints."""
    assert run_command_line(["run", spec, "--in-process", "--run", "5"]) == 2
    assert capsys.readouterr().err == "--run 5: the plan numbers its runs from 1 to 4\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "small.yaml", "--json"], "--json goes with --dry-run"),
        (["run", "small.yaml", "--run", "2"], "--run goes with --in-process"),
        (["run", "small.yaml", "--dry-run", "--in-process"], "it does not go with --dry-run"),
        (
            ["run", "small.yaml", "--in-process", "--cluster", "x.yaml"],
            "--dry-run or --cluster",
        ),
        (
            ["run", "small.yaml", "--cluster", "x.yaml", "--expect", "1"],
            "--cluster compares by",
        ),
        (["run", "small.yaml", "--wait", "1", "--dry-run"], "--wait waits for other"),
        (["run", "small.yaml", "--wait", "1", "--in-process"], "--wait waits for other"),
        (["run", "small.yaml", "--cluster", "x.yaml"], "x.yaml: no such file"),
        (["train", "small.yaml"], "No such command 'train'. There are init, "),
        (["evalute", "small.yaml"], "No such command 'evalute'. Did you mean 'evaluate'?"),
    ],
)
def test_options_that_do_not_belong_exit_2(
    spec: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that would be ignored is refused."""
    assert spec == "small.yaml"
    assert run_command_line(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--fast-dev-run", "small.yaml"],
        ["plan", "small.yaml", "--fast-dev-run"],
        ["plan", "--fast-dev-run", "1", "small.yaml"],
        ["plan", "--fast-dev-run=1", "small.yaml"],
    ],
)
def test_the_number_of_a_quick_try_is_optional(
    spec: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`--fast-dev-run` before the file does not take the file for its number."""
    assert spec == "small.yaml"
    assert run_command_line(arguments) == 0
    assert "  runs       2" in capsys.readouterr().out


def test_compare_of_an_unknown_name_exits_2(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name without records is one line."""
    assert spec == "small.yaml"
    assert run_command_line(["compare", "unknown"]) == 2
    assert capsys.readouterr().err.startswith("no search of the name 'unknown' under ")


def test_ui_without_records_exits_2(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to open before something ran."""
    assert spec == "small.yaml"
    assert run_command_line(["ui"]) == 2
    assert "run an experiment first" in capsys.readouterr().err


def test_schema_is_the_file_beside_the_experiments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The schema that the experiment files name is up to date."""
    assert run_command_line(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        (ROOT / "experiments" / "experiment.schema.json").read_text()
    )


@pytest.mark.parametrize("command", ["run", "plan", "validate", "compare", "ui", "schema"])
def test_every_command_teaches_by_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Help of every command has an example that begins with its name."""
    assert run_command_line([command, "--help"]) == 0
    said = capsys.readouterr().out
    first = said.split("Example", 1)[1].splitlines()[1]
    assert first.startswith(f"    orchestrator {command}")
    assert "\\b" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate", str(ROOT / "experiments/digits-label-smoothing.yaml")],
        ["digest", str(ROOT / "experiments/own-model.yaml")],
    ],
)
def test_commands_that_only_read_text_load_nothing_heavy(arguments: list[str]) -> None:
    """`--help`, `validate` and `digest` answer without torch, Ray or MLflow."""
    code = (
        "import sys; from orchestrator.cli.main import run_command_line; "
        f"assert run_command_line({arguments!r}) == 0; "
        "print([m for m in ('torch', 'ray', 'mlflow', 'scipy', 'pandas') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "[]"
