"""Ray Tune drives a search; each of its trials is a thin client of the broker.

A trial is one setting: its client submits one run per seed and reports their mean, so that no
searcher or scheduler ever takes a lucky seed for a good value. Tune sees few, small numbers;
everything else goes to the journal.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import ray
from ray import tune
from ray.tune import PlacementGroupFactory

from orchestrator.errors import LostRayError
from orchestrator.launch.failures import last_line
from orchestrator.launch.jobs import BROKER_NAMESPACE
from orchestrator.launch.lanes import BrokerHandle
from orchestrator.planning.search_plan import SearchPlan

_CLIENT_MEMORY = 1 << 20
"""Bytes of Ray's books for one client. A client waits; had it a CPU, as is Tune's default, the
clients would hold every CPU of a small machine and no lane could ever start."""


def search(plan: SearchPlan, broker: BrokerHandle, *, folder: Path) -> None:
    """Train every setting of a search; returns when all runs have ended.

    Args:
        plan: The search, decided.
        broker: Where the clients submit their runs.
        folder: Where Tune keeps its own files.

    Raises:
        LostRayError: A client came to grief: the broker is gone, or Ray itself.
    """
    clients = _concurrent_clients(plan)
    trials = [
        {"setting": dict(setting), "plans": [run.to_json() for run in plan.runs_of(index)]}
        for index, setting in enumerate(plan.settings)
    ]
    trainable = tune.with_parameters(
        train_setting, broker=broker.name, metric=plan.metric, trials=trials
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, _client_place()),
        param_space={"index": tune.grid_search(list(range(len(trials))))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=clients,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0),
    )
    # What a client died of is raised below, in one line.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    # Tune does not raise when its trials do.
    for error in tuner.fit().errors:
        raise LostRayError(f"the search broke off: {last_line(error)}")


def train_setting(
    config: Mapping[str, Any], *, broker: str, metric: str, trials: list[Mapping[str, Any]]
) -> None:
    """What a Tune trial does: all seeds of a setting through the broker, their mean to Tune."""
    actor = ray.get_actor(broker, namespace=BROKER_NAMESPACE)
    endings = ray.get(actor.train.remote(trials[config["index"]]["plans"]))
    scores = [ending["metrics"][metric] for ending in endings if ending["metrics"]]
    result: dict[str, Any] = {"finished": len(scores), "runs": len(endings)}
    if scores:
        result[metric] = fmean(scores)
    tune.report(result)


def _client_place() -> PlacementGroupFactory:
    """Beside the driver: other machines may come and go."""
    here = ray.get_runtime_context().get_node_id()
    return PlacementGroupFactory(
        [{"memory": _CLIENT_MEMORY}], bundle_label_selector=[{"ray.io/node-id": here}]
    )


def _concurrent_clients(plan: SearchPlan) -> int:
    """Enough settings at a time that no lane waits while one setting's last seeds train."""
    needed = -(-plan.lanes.lanes // len(plan.seeds)) + 1
    return min(needed, len(plan.settings))
