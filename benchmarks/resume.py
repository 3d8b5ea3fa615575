"""What is left of a training whose process is killed: this tool, Lightning, Ray Tune.

The same network with dropout on the same images, shuffled; SIGKILL of the whole process group
in the middle of an epoch, and the tool's own way to go on. For each: are the final weights
those of an undisturbed training, bit for bit; how many steps were taken twice; how many seconds
more it took, the start of a process and of Ray included. Rounds alternate the tools. The last
line is one JSON object.

    .venv/bin/pip install lightning               the rival that is no dependency
    .venv/bin/python -m benchmarks.resume         about 8 minutes on 2 cores
"""

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.resume_rivals import BATCH, EVERY, TRAIN

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 200
STEPS = EPOCHS * TRAIN // BATCH
KILL_AT = STEPS // 2 + 4
"""Steps done when the process is killed: in the middle of an epoch, and between two
checkpoints."""
SPEC = f"""
name: resume
data: {{dataset: digits, train_size: {TRAIN}, batch_size: {BATCH}}}
model: {{architecture: "resumed_network:Counted"}}
loss: {{label_smoothing: 0.1}}
optimizer: {{lr: 0.1, momentum: 0.9}}
schedule: {{name: one_cycle}}
training: {{epochs: {EPOCHS}}}
checkpoint: {{every_steps: {EVERY}, every_epochs: 0}}
"""


def command(tool: str, folder: Path) -> list[str]:
    """What a user types, to begin and to go on."""
    if tool != "orchestrator":
        arguments = [tool, str(folder), str(EPOCHS)]
        return [sys.executable, "-m", "benchmarks.resume_rivals", *arguments]
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)
    network = Path(__file__).with_name("resumed_network.py")
    (folder / network.name).write_bytes(network.read_bytes())
    return [sys.executable, "-m", "orchestrator", "run", str(spec)]


def begin(tool: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a tool in a process group of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COUNT_STEPS": str(folder / "steps"),
        "ORCHESTRATOR_STORAGE": str(folder / "runs"),
    }
    return subprocess.Popen(
        command(tool, folder),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )


def steps_in(folder: Path) -> int:
    """Steps that were taken so far, those that were repeated too."""
    path = folder / "steps"
    return path.stat().st_size if path.exists() else 0


def finish(tool: str, process: "subprocess.Popen[str]", folder: Path) -> str:
    """Wait for the end of a training; the digest of its weights."""
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{tool} ended with status {process.returncode}")
    if tool != "orchestrator":
        return out.splitlines()[-1]
    receipt = folder / "runs" / "resume" / "1" / "seed=0" / "receipt.json"
    found: str = json.loads(receipt.read_text())["weights_sha256"]
    return found


def train(tool: str, *, disturbed: bool) -> dict[str, Any]:
    """One training: seconds, steps, weights."""
    with tempfile.TemporaryDirectory(prefix="resume-") as name:
        folder = Path(name)
        began = time.perf_counter()
        process = begin(tool, folder)
        if disturbed:
            while steps_in(folder) < KILL_AT:
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = begin(tool, folder)
        weights = finish(tool, process, folder)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "steps": steps_in(folder), "weights": weights}


def measure(tool: str) -> dict[str, Any]:
    """An undisturbed training and a disturbed one."""
    whole, broken = train(tool, disturbed=False), train(tool, disturbed=True)
    return {
        "same_bits": whole["weights"] == broken["weights"],
        "steps_repeated": broken["steps"] - whole["steps"],
        "seconds_lost": broken["seconds"] - whole["seconds"],
        "seconds": whole["seconds"],
    }


def main() -> None:
    """Measure every tool, alternating; print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    tools = ["orchestrator", "lightning", "tune"]
    if importlib.util.find_spec("lightning") is None:
        print("lightning is not installed: pip install lightning; it is left out")
        tools.remove("lightning")
    found: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    for number in range(1, rounds + 1):
        for tool in tools:
            found[tool].append(measure(tool))
            print(f"round {number}: {tool} {json.dumps(found[tool][-1])}", flush=True)
    print(f"\n{STEPS} steps, SIGKILL after {KILL_AT}; medians of {rounds} rounds")
    report = {}
    for tool, values in found.items():
        report[tool] = {
            "same_bits": all(value["same_bits"] for value in values),
            **{
                key: statistics.median(value[key] for value in values)
                for key in ("steps_repeated", "seconds_lost", "seconds")
            },
        }
        same = "the same bits" if report[tool]["same_bits"] else "other weights"
        print(
            f"  {tool:<14} {same:<14} {report[tool]['steps_repeated']:>5.0f} steps repeated "
            f"{report[tool]['seconds_lost']:>6.1f} s lost of {report[tool]['seconds']:.1f} s"
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
