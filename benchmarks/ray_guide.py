"""The other rival: Ray's own guide, a TorchTrainer inside each Tune trial.

Trains a few of the demo's runs that way and prints one JSON object: seconds per trial, from the
start of the process to its end, divided by the trials.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def train_worker(config: dict[str, Any]) -> None:
    """What a Ray Train worker runs: one of the demo's trainings."""
    import ray.train
    import torch

    from benchmarks.bare_loop import train

    torch.set_num_threads(1)
    accuracy, _ = train(config["smoothing"], config["seed"], [])
    ray.train.report({"accuracy": accuracy})


def train_trial(config: dict[str, Any]) -> None:
    """What a Tune trial runs: a whole Ray Train job."""
    from ray import train, tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"smoothing": config["smoothing"], "seed": config["seed"]},
        scaling_config=train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=train.RunConfig(
            name=tune.get_context().get_trial_id(),
            storage_path=config["folder"],
            # Ray keeps no metrics of a report without a checkpoint; this hands them to Tune.
            callbacks=[TuneReportCallback()],
        ),
    )
    trainer.fit()


def main() -> None:
    """Run a few trials and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3)
    trials = parser.parse_args().trials
    began = time.perf_counter()
    import ray

    ray.init(
        # A trial and its one worker reserve a CPU each: two trials at a time, as on two cores.
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}},
    )
    ready = time.perf_counter()
    finished = run_trials(trials)
    seconds = time.perf_counter() - ready
    ray.shutdown()
    if finished < trials:
        raise RuntimeError(
            f"{finished} of {trials} trials finished: there is nothing to compare"
        )
    report = {
        "trials": trials,
        "finished": finished,
        "seconds_per_trial": seconds / trials,
        "start_s": ready - began,
    }
    print(json.dumps(report))


def run_trials(trials: int) -> int:
    """Train, two at a time; how many trials reported an accuracy."""
    from ray import tune

    with tempfile.TemporaryDirectory(prefix="guide-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(train_trial, {"cpu": 1}),
            param_space={
                "smoothing": tune.grid_search([0, 0.1, 0.4, 0.6][:trials]),
                "seed": 0,
                "folder": folder,
            },
            tune_config=tune.TuneConfig(max_concurrent_trials=2),
            run_config=tune.RunConfig(name="guide", storage_path=folder, verbose=0),
        )
        return sum("accuracy" in (result.metrics or {}) for result in tuner.fit())


if __name__ == "__main__":
    main()
