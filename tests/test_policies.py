"""What must hold for the tree as a whole."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.cli.main import _COMMANDS
from orchestrator.specs.load import load_spec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
SOURCES = sorted(path for path in (ROOT / "orchestrator").rglob("*.py"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_experiment_is_valid_and_says_what_it_asks(path: Path) -> None:
    """A file in experiments/ loads, is named like its file, and opens with its question."""
    spec = load_spec(path)

    assert spec.keys.name == path.stem
    head = path.read_text().partition("\nname:")[0]
    assert "# yaml-language-server: $schema=experiment.schema.json" in head
    for word in ("command", "question", "hardware", "time", "result"):
        assert f"# {word}" in head


def test_the_map_is_the_folder() -> None:
    """The README's map names every file of the package, each with a comment, and no other."""
    lines = README.split("<!-- map -->")[1].split("<!-- end of map -->")[0].splitlines()
    mapped = [re.search(r"([\w.]+\.(?:py|npz|typed))\s{2,}\S", line) for line in lines]
    names = sorted(found[1] for found in mapped if found)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "orchestrator"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    nested = [p for p in listed if not re.fullmatch(r"orchestrator/[\w/]+/__init__\.py", p)]
    assert names == sorted(Path(path).name for path in nested)


def test_every_command_is_in_the_readme() -> None:
    """Each command has a line in the README's table."""
    for name in _COMMANDS:
        assert f"| `orchestrator {name}" in README


def test_files_and_functions_stay_small() -> None:
    """No file of the package is longer than 250 lines, no function than 50."""
    long = []
    for path in SOURCES:
        text = path.read_text()
        if text.count("\n") > 250 and path.name != "words.py":
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 50:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert long == []


def test_every_target_is_listed() -> None:
    """`make` alone lists every target that a user may call."""
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "test-all", "check", "ui", "bench", "fix", "clean"):
        assert f"make {target} " in said


def test_constraints_are_exact_and_name_no_place() -> None:
    """Every line pins one version; none records where a package came from."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line), line
