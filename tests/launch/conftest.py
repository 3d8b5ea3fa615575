"""A plan that a broker can hand out."""

import pytest

from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.resolve import resolve_search
from orchestrator.planning.run_plan import RunPlan
from orchestrator.specs.load import load_spec
from tests.plans import DIGITS


@pytest.fixture
def run_plan(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """The only run of a small experiment."""
    spec = load_spec(
        {
            "name": "demo",
            "data": {"dataset": "digits", "train_size": 80},
            "model": {"architecture": "small_cnn"},
            "training": {"epochs": 2},
        }
    )
    machine = Cluster(nodes=(Node(name="here", cpus=1, gpus=0),))
    storage = tmp_path_factory.mktemp("storage")
    return resolve_search(spec, machine, storage=storage, number=1, inputs=DIGITS).runs[0]
