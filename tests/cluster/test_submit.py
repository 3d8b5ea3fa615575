"""`ray up`, `ray submit`, `ray job submit` and `run --cluster` on pretend machines."""

import json

import pytest

from tests.cluster.conftest import CLUSTER, PROJECT, on_laptop, write
from tests.cluster.hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SMALL = """
name: small
data: {dataset: digits, train_size: 200, batch_size: 50}
model: {architecture: small_cnn, sync_batch_norm: true}
loss: {label_smoothing: {grid: [0, 0.4]}}
training: {epochs: 2}
resources: {num_workers: 2}
"""


def test_submit_trains_over_two_machines(cluster: Hosts) -> None:
    """`ray submit` as it stands: two machines train each run together; the answer is shown."""
    write(cluster, "laptop", f"{PROJECT}/small.yaml", SMALL)

    on_laptop(cluster, f"ray rsync-up {CLUSTER}")
    said = on_laptop(cluster, f"ray submit {CLUSTER} orchestrator/__main__.py run small.yaml")

    assert "small#1: val/accuracy" in said.stdout, said.stdout
    receipt = cluster.shared / "results/small/1/label_smoothing=0.4,seed=0/receipt.json"
    (attempt,) = json.loads(receipt.read_text())["attempts"]
    assert [worker["host"] for worker in attempt["workers"]] == ["head", "worker"]


def test_run_on_a_cluster_brings_the_records_here(cluster: Hosts) -> None:
    """`run --cluster` copies, runs, follows, and brings the search's folder; its status too."""
    write(
        cluster,
        "laptop",
        f"{PROJECT}/brought.yaml",
        SMALL.replace("name: small", "name: brought"),
    )

    said = on_laptop(cluster, f"python -m orchestrator run --cluster {CLUSTER} brought.yaml")
    print(said.stdout)
    assert "brought#1: val/accuracy" in said.stdout
    again = on_laptop(cluster, "python -m orchestrator compare brought --storage runs/@lab")
    print(again.stdout)
