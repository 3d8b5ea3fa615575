"""What a run's fingerprint holds, and what it does not."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator.planning.facts import FileFacts, Inputs, known_facts
from orchestrator.planning.fingerprint import (
    PLANNING,
    describe_environment,
    fingerprint_run,
)
from orchestrator.planning.numbers import Limits
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.load import load_spec

MakePlan = Callable[..., SearchPlan]

STEP = {"name": "step", "step_epochs": 2}


def fingerprint(plan: SearchPlan) -> str:
    """Of the only run."""
    (run,) = plan.runs
    return run.fingerprint


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "other"},
        {"description": "another question"},
        {"storage_path": "elsewhere"},
        {"data": {"loader_workers": 2}},
        {"tracking": {"uri": "sqlite:///elsewhere.db"}},
        {"checkpoint": {"every_steps": 10, "keep_last": 5}},
        {"search": {"max_concurrent": 1}},
        {"search": {"metric": "val/nll"}},
    ],
)
def test_what_changes_no_number_changes_no_fingerprint(
    make_plan: MakePlan, sections: dict[str, Any]
) -> None:
    """Names, paths, and how often something is written."""
    assert fingerprint(make_plan(**sections)) == fingerprint(make_plan())


@pytest.mark.parametrize(
    "sections",
    [
        {"seed": 1},
        {"deterministic": "warn"},
        {"data": {"train_size": 400}},
        {"loss": {"label_smoothing": 0.1}},
        {"optimizer": {"lr": 0.2}},
        {"training": {"epochs": 4}},
        {"training": {"select": "best"}},
        {"resources": {"cpus_per_worker": 2}},
        {"resources": {"num_workers": 2}},
    ],
)
def test_what_changes_a_number_changes_the_fingerprint(
    make_plan: MakePlan, sections: dict[str, Any]
) -> None:
    """The seed, the threads, the number of workers, and which epoch counts, among others."""
    assert fingerprint(make_plan(**sections)) != fingerprint(make_plan())


def test_the_metric_counts_where_it_chooses_the_epoch(make_plan: MakePlan) -> None:
    """Another metric is another best epoch, with other weights."""
    best = {"training": {"select": "best"}}
    other = make_plan(search={"metric": "val/nll"}, **best)

    assert fingerprint(other) != fingerprint(make_plan(**best))


def test_a_quick_try_has_no_fingerprint(make_plan: MakePlan) -> None:
    """Nobody shall take it for a result."""
    assert fingerprint(make_plan(limits=Limits(fast_dev_run=2))) == ""


def test_a_file_of_weights_is_what_is_in_it(make_plan: MakePlan) -> None:
    """The same bytes elsewhere are the same run; other bytes in the same place are another."""
    data = known_facts(load_spec(_WITH_WEIGHTS).keys.data)
    assert data is not None

    def of(path: str, sha256: str) -> str:
        facts = FileFacts(path=path, sha256=sha256)
        inputs = Inputs(data=data, weights={path: facts}, tensors={path: facts})
        model = {"weights": path, "rules": [{"match": "head", "tensor": f"{path}:x"}]}
        return fingerprint(make_plan(inputs=inputs, model=model))

    assert of("/a.safetensors", "1") == of("/b.safetensors", "1")
    assert of("/a.safetensors", "1") != of("/a.safetensors", "2")


def test_ones_own_code_counts(make_plan: MakePlan) -> None:
    """Another version of the user's modules trains other numbers."""
    data = known_facts(load_spec(_WITH_WEIGHTS).keys.data)
    assert data is not None
    first, second = (
        fingerprint(make_plan(inputs=Inputs(data=data, sources=digest))) for digest in "ab"
    )

    assert first != second


_WITH_WEIGHTS: Mapping[str, Any] = {
    "name": "x",
    "data": {"dataset": "digits"},
    "model": {"architecture": "small_cnn"},
    "training": {"epochs": 1},
}


def test_the_versions_are_those_that_are_installed() -> None:
    """Torch's own word of CUDA, found without importing it."""
    import torch

    found = describe_environment()

    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["cuda"] == (torch.version.cuda or "")


SCRIPT = """
import json, sys
from orchestrator.planning.fingerprint import (
    PLANNING,
    describe_environment,
    fingerprint_run,
)
print(json.dumps([dict(describe_environment()), "torch" in sys.modules]))
"""


def environment_of(folder: Path) -> dict[str, str]:
    """What a copy of the package in a folder says of itself."""
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str]
    found, imported = json.loads(said.stdout)
    assert not imported
    return found


def test_our_training_source_counts_and_nothing_else_of_ours(tmp_path: Path) -> None:
    """One letter in the training changes every fingerprint; in the screen or a text, none."""
    package = tmp_path / "orchestrator"
    shutil.copytree(Path(orchestrator.__file__).parent, package)
    before = environment_of(tmp_path)
    for name in ("cli/screen.py", "comparison/answer.py", "planning/resolve.py"):
        with (package / name).open("a") as file:
            file.write("\n# another remark\n")
    (package / "README.md").write_text("a text")
    assert environment_of(tmp_path) == before

    with (package / "training/data/mixing.py").open("a") as file:
        file.write("\n# another remark\n")

    assert environment_of(tmp_path)["source"] != before["source"]


def test_a_final_checkpoint_stays_where_more_epochs_could_follow(make_plan: MakePlan) -> None:
    """Under one cycle and cosine the rates depend on the end: nothing can be added."""
    for schedule, stays in (
        ({"name": "constant"}, True),
        (STEP, True),
        ({"name": "multistep", "milestones": [2]}, True),
        ({"name": "cosine"}, False),
        ({"name": "one_cycle"}, False),
    ):
        (run,) = make_plan(schedule=schedule).runs
        assert run.place.checkpoint is not None
        assert run.place.checkpoint.keep_final == stays
        bare = replace(run.place.checkpoint, keep_final=False, every_epochs=0)
        (none,) = make_plan(schedule=schedule, checkpoint={"every_epochs": 0}).runs
        assert none.place.checkpoint == bare


def test_all_that_training_imports_of_planning_counts() -> None:
    """Each file of it is digested; what a new import brings in must be added."""
    root = Path(orchestrator.__file__).parent
    imported: set[str] = set()
    waiting = list((root / "training").rglob("*.py"))
    while waiting:
        text = waiting.pop().read_text()
        for name in re.findall(
            r"^from orchestrator\.planning\.(\w+) import", text, re.MULTILINE
        ):
            if f"{name}.py" not in imported:
                imported.add(f"{name}.py")
                waiting.append(root / "planning" / f"{name}.py")

    assert imported == set(PLANNING)


def test_the_folder_of_data_without_a_manifest_counts(make_plan: MakePlan) -> None:
    """Nothing else tells one version of such a data set from another."""
    (run,) = make_plan().runs

    def of(root: str, manifest: str) -> str:
        data = replace(run.numbers.data, manifest=manifest)
        numbers = replace(run.numbers, data=data)
        words = {"select": "last", "metric": "val/accuracy", "maximize": True}
        return fingerprint_run(numbers, data_root=root, **words)[0]  # type: ignore[arg-type]

    assert of("/a", "") != of("/b", "")
    assert of("/a", "0123") == of("/b", "0123")
