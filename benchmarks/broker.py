"""How far it scales: plans for many machines, and a broker that hands out many runs.

Plans for 64 declared nodes with 8 GPUs each, made and refused. Then 1,000 runs that compute
nothing, each with one report, served by the broker to 8 lanes on this machine; and the rival,
as many trials of Ray Tune that report once and end, 8 at a time, their actors reused.
Alternating; the last line is one JSON object.

    .venv/bin/python -m benchmarks.broker --rounds 2      about 5 minutes on 2 cores
"""

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.errors import InfeasibleError
from orchestrator.launch.environment import prepare_environment

prepare_environment()

import ray  # noqa: E402  after its settings
from ray import tune  # noqa: E402

from orchestrator.launch.lanes import start_broker  # noqa: E402
from orchestrator.planning.cluster import Cluster, Device, Node  # noqa: E402
from orchestrator.planning.facts import Inputs, known_facts  # noqa: E402
from orchestrator.planning.lanes import LaneRequest  # noqa: E402
from orchestrator.planning.placement import place_lanes  # noqa: E402
from orchestrator.planning.resolve import resolve_search  # noqa: E402
from orchestrator.planning.search_plan import SearchPlan  # noqa: E402
from orchestrator.specs.load import load_spec  # noqa: E402

LANES = 8
NODES, GPUS = 64, 8


def declare_nodes() -> Cluster:
    """64 nodes of 64 CPUs and 8 GPUs, which are known one by one."""
    devices = tuple(Device(index=str(index)) for index in range(GPUS))
    names = [f"node{index:02d}" for index in range(NODES)]
    nodes = [
        Node(name=name, cpus=64, gpus=GPUS, node_id=name, devices=devices) for name in names
    ]
    return Cluster(nodes=tuple(nodes), address="declared:6379")


def plan_runs(cluster: Cluster, folder: Path, runs: int) -> SearchPlan:
    """The plan of so many runs, five seeds to a setting."""
    values = [round(0.9 * index / (runs // 5), 6) for index in range(runs // 5)]
    spec = load_spec(
        {
            "name": "many",
            "data": {"dataset": "digits"},
            "model": {"architecture": "small_cnn"},
            "loss": {"label_smoothing": {"grid": values}},
            "training": {"epochs": 1},
            "search": {"seeds": 5},
        }
    )
    facts = known_facts(spec.keys.data)
    assert facts is not None
    inputs = Inputs(data=facts)
    return resolve_search(spec, cluster, storage=folder, number=1, inputs=inputs)


def measure_plans(runs: int) -> dict[str, Any]:
    """Seconds to plan and to refuse on 64 nodes, each checked to be right."""
    cluster = declare_nodes()
    asked = {"cpus_per_worker": 4, "gpus_per_worker": 1, "deterministic": "false"}
    began = time.perf_counter()
    lanes = place_lanes(cluster, LaneRequest(workers=16, **asked), most=1000)  # type: ignore[arg-type]
    placed = time.perf_counter()
    assert lanes.lanes == NODES * GPUS // 16
    assert len({seat.node for seat in lanes.seats[0]}) == 2
    with suppress(InfeasibleError):
        place_lanes(cluster, LaneRequest(workers=513, **asked), most=1000)  # type: ignore[arg-type]
        raise AssertionError("513 workers fit on 512 GPUs")
    refused = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_runs(cluster, Path(folder), runs)
    assert plan.lanes.lanes == NODES * GPUS
    return {
        "place_s": round(placed - began, 3),
        "refuse_s": round(refused - placed, 3),
        f"plan_{runs}_runs_s": round(time.perf_counter() - refused, 3),
    }


class IdleLane:
    """A lane that computes nothing: one report for each run, then its end."""

    def serve(self, broker: Any, lane: str) -> int:  # noqa: ANN401  Ray's handles are untyped
        """Serve until sent home; how many runs."""
        ray.get(broker.join.remote(lane, lane, {"workers": []}))
        count = 0
        while text := ray.get(broker.next_assignment.remote(lane, lane, count)):
            run = json.loads(text)["plan"]["run_id"]
            ray.get(broker.report.remote(lane, lane, run, 1, {"val/accuracy": 0.5}))
            ending = {"status": "finished", "metrics": {}, "weights_sha256": "0"}
            ray.get(broker.finish.remote(lane, lane, run, ending))
            count += 1
        return count


idle_lane: Any = ray.remote(num_cpus=0)(IdleLane)


def serve_runs(runs: int) -> dict[str, float]:
    """Milliseconds for each run that computes nothing, and how the broker's memory grows."""
    machine = Cluster(nodes=(Node(name="here", cpus=LANES, gpus=0),))
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_runs(machine, Path(folder), runs)
        plan.folder.mkdir(parents=True)
        broker = start_broker(plan.folder, plan.lanes)
        process = broker.ask("settle", {}, {})
        lanes = [idle_lane.remote() for _ in range(LANES)]
        served = [
            lane.serve.remote(broker.actor, f"lane {index}") for index, lane in enumerate(lanes)
        ]
        ended = broker.actor.train.remote([run.to_json() for run in plan.runs])
        journal = plan.folder / "journal.jsonl"
        # Once all lanes are up and warm.
        while _count_ends(journal) < runs // 10:
            time.sleep(0.01)
        began, first, memory = time.perf_counter(), _count_ends(journal), _memory_mib(process)
        ray.get(ended)
        seconds, grown = time.perf_counter() - began, _memory_mib(process) - memory
        broker.tell("close", timeout_s=10)
        assert sum(ray.get(served)) == runs
        for actor in (*lanes, broker.actor):
            ray.kill(actor)
    return {"ms": 1000 * seconds / (runs - first), "kib_per_run": 1024 * grown / (runs - first)}


def _count_ends(journal: Path) -> int:
    return journal.read_text().count('"kind": "end"') if journal.exists() else 0


def _memory_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def run_trials(trials: int) -> float:
    """Milliseconds for each trial of Tune that reports once and ends."""
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(_report_once, {"cpu": 0.01}),
            param_space={"index": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(max_concurrent_trials=LANES, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, name="tune", verbose=0),
        )
        began = time.perf_counter()
        results = tuner.fit()
        assert not results.errors
        return 1000 * (time.perf_counter() - began) / trials


def _report_once(config: dict[str, int]) -> None:
    tune.report({"accuracy": config["index"]})


def main() -> None:
    """Measure, print the table, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1000)
    asked = parser.parse_args()
    planned = measure_plans(asked.runs)
    print(f"plans for {NODES} nodes with {GPUS} GPUs each: {planned}", flush=True)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        ray.init(
            num_cpus=LANES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        ours, theirs = [], []
        for index in range(asked.rounds):
            ours.append(serve_runs(asked.runs))
            theirs.append(run_trials(asked.runs // 5))
            print(
                f"round {index + 1}: {ours[-1]['ms']:.1f} ms a run, its broker grows by "
                f"{ours[-1]['kib_per_run']:.1f} KiB a run; {theirs[-1]:.1f} ms a trial of Tune",
                flush=True,
            )
        ray.shutdown()
    milliseconds = statistics.median(one["ms"] for one in ours)
    print(
        json.dumps(
            {
                **planned,
                "ms_per_run": round(milliseconds, 2),
                "kib_per_run": round(statistics.median(o["kib_per_run"] for o in ours), 1),
                "tune_trial_vs_run": round(statistics.median(theirs) / milliseconds, 1),
                "rounds": asked.rounds,
            }
        )
    )


if __name__ == "__main__":
    main()
