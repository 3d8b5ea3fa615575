"""The short trip over two machines: up, one `ray submit`, down."""

import json
import sqlite3

import pytest

from tests.cluster.conftest import (
    CLUSTER,
    SMALL,
    Train,
    on_laptop,
    weights_on_cluster,
    write_spec,
)
from tests.cluster.hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_submit_trains_over_two_machines(cluster: Hosts, train_here: Train) -> None:
    """`ray submit` as it stands: progress and answer on the terminal, the rest in MLflow.

    Each run is trained by a worker on each machine, which share their batch statistics, and has
    the weights that two workers on one machine give it.
    """
    write_spec(cluster, "small", SMALL)

    on_laptop(cluster, f"ray rsync-up {CLUSTER}")
    said = on_laptop(cluster, f"ray submit {CLUSTER} orchestrator/__main__.py run small.yaml")

    assert "starting Ray and the lanes" in said.stdout
    assert "2/2 runs" in said.stdout
    assert "small#1: val/accuracy" in said.stdout
    storage = cluster.shared / "results"
    for setting in ("0", "0.4"):
        receipt = storage / f"small/1/label_smoothing={setting},seed=0/receipt.json"
        (attempt,) = json.loads(receipt.read_text())["attempts"]
        assert {worker["host"] for worker in attempt["workers"]} == {"head", "worker"}
    with sqlite3.connect(storage / "mlflow.db") as connection:
        rows = connection.execute(
            "SELECT r.name, status FROM runs r JOIN experiments e USING (experiment_id) "
            "WHERE e.name = 'small'"
        ).fetchall()
    assert {status for _, status in rows} == {"FINISHED"}
    assert any(name.startswith("label_smoothing=0.4 seed=0 → 0.") for name, _ in rows), rows
    assert weights_on_cluster(cluster, "small") == train_here(SMALL)
