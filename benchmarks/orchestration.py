"""What orchestration costs: this tool beside a bare loop and beside Ray's own pattern.

All in one run, alternating, on the demo's 35 trainings: (a) a bare PyTorch loop in one process,
with one thread and with two; (b) `orchestrator run`; (c) a TorchTrainer inside each Tune trial.
Prints a table, then one JSON object with the ratios as the last line.

    make bench                                   about 10 minutes on 2 cores
    .venv/bin/python benchmarks/orchestration.py --rounds 1
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SPEC = ROOT / "experiments" / "digits-label-smoothing.yaml"
NAME = "digits-label-smoothing"


def run_bare(threads: int, seeds: int) -> dict[str, Any]:
    """(a): the bare loop; its own report and the whole time of the process."""
    began = time.perf_counter()
    said = _python("-m", "benchmarks.bare_loop", f"--threads={threads}", f"--seeds={seeds}")
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    seconds = [run["seconds"] for run in report["runs"].values()]
    return {
        **report,
        "total_s": time.perf_counter() - began,
        "marginal_s": statistics.fmean(seconds[1:]),
    }


def run_tool(storage: Path, *arguments: str) -> dict[str, Any]:
    """(b): the tool, timed from the command by its own journal."""
    began, wall = time.perf_counter(), time.time()
    # Fresh: the second round would be answered from the records of the first.
    _python("-m", "orchestrator", "run", str(SPEC), "--fresh", *arguments, storage=storage)
    total = time.perf_counter() - began
    folder = max((storage / NAME).iterdir(), key=lambda path: int(path.name))
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    epochs = [entry["t"] for entry in entries if entry["kind"] == "epoch"]
    ends = sorted(entry["t"] for entry in entries if entry["kind"] == "end")
    answer = next(entry["t"] for entry in entries if entry["kind"] == "answer")
    # What one more run costs once all is up: Tune and MLflow start beside the first runs, so
    # the second half of them tells. The whole, starts included, is `total_s`.
    half = len(ends) // 2
    warm = (ends[-1] - ends[half]) / (len(ends) - 1 - half) if half else 0.0
    return {
        "first_epoch_s": epochs[0] - wall,
        "marginal_s": warm,
        "answer_s": answer - wall,
        "total_s": total,
        "weights": {
            entry["run"].rpartition("/")[2]: entry["weights_sha256"]
            for entry in entries
            if entry["kind"] == "end"
        },
    }


def run_guide() -> dict[str, Any]:
    """(c): Ray's guide, three trials."""
    report: dict[str, Any] = json.loads(_python("-m", "benchmarks.ray_guide").splitlines()[-1])
    return report


def main() -> None:
    """Measure, print the table, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    one, two, tool = [], [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        storage = Path(folder)
        # The first use of MLflow on a machine makes an empty store: not what is measured.
        run_tool(storage, "search.seeds=1", "training.epochs=1")
        for index in range(rounds):
            one.append(run_bare(threads=1, seeds=5))
            tool.append(run_tool(storage))
            two.append(run_bare(threads=2, seeds=2))
            print(f"round {index + 1} of {rounds} done", flush=True)
        here = [run_tool(storage, "--in-process", f"--run={n}") for n in (1, 12, 35)]
    guide = run_guide()
    _print_table(one, two, tool, guide)
    print(json.dumps(summarize(one, two, tool, here, guide)))


def summarize(
    one: list[dict[str, Any]],
    two: list[dict[str, Any]],
    tool: list[dict[str, Any]],
    here: list[dict[str, Any]],
    guide: dict[str, Any],
) -> dict[str, Any]:
    """The ratios, medians over rounds; a ratio below 1 favours the tool."""
    bare = {name: run["weights"] for name, run in one[0]["runs"].items()}

    def ratio(key: str, rivals: list[dict[str, Any]]) -> float:
        return round(statistics.median(_ratios(key, tool, rivals)), 3)

    return {
        "marginal_run_vs_bare_1_thread": ratio("marginal_s", one),
        "marginal_run_vs_bare_2_threads": ratio("marginal_s", two),
        "first_epoch_vs_bare": ratio("first_epoch_s", one),
        "35_runs_vs_bare_1_thread": ratio("total_s", one),
        "ray_guide_run_vs_ours": round(
            guide["seconds_per_trial"] / statistics.median(r["marginal_s"] for r in tool), 1
        ),
        "weights_identical_to_bare": sum(r["weights"] == bare for r in tool) == len(tool),
        "weights_identical_in_process": all(
            bare[name] == weights for run in here for name, weights in run["weights"].items()
        ),
        # How much a neighbour on the machine, or a warm processor, moves them.
        "marginal_run_by_round": [round(r, 3) for r in _ratios("marginal_s", tool, one)],
        "rounds": len(tool),
        "cpus": len(os.sched_getaffinity(0)),
    }


def _ratios(key: str, tool: list[dict[str, Any]], rivals: list[dict[str, Any]]) -> list[float]:
    return [float(b[key] / a[key]) for b, a in zip(tool, rivals, strict=True)]


def _print_table(
    one: list[dict[str, Any]],
    two: list[dict[str, Any]],
    tool: list[dict[str, Any]],
    guide: dict[str, Any],
) -> None:
    print(f"{'':28}{'first epoch':>12}{'per run':>10}{'35 runs':>10}")
    rows = [
        ("bare loop, 1 thread", one, True),
        ("bare loop, 2 threads", two, False),
        ("orchestrator run", tool, True),
    ]
    for title, results, whole in rows:
        first = statistics.median(r["first_epoch_s"] for r in results)
        each = statistics.median(r["marginal_s"] for r in results)
        total = f"{statistics.median(r['total_s'] for r in results):8.1f} s" if whole else "-"
        print(f"{title:28}{first:10.1f} s{each:8.2f} s{total:>10}")
    seconds = guide["seconds_per_trial"]
    print(f"{'TorchTrainer in each trial':28}{'-':>12}{seconds:8.2f} s{'-':>10}")


def _python(*arguments: str, storage: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if storage:
        environment["ORCHESTRATOR_STORAGE"] = str(storage)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
