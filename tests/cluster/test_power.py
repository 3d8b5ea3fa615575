"""A machine loses its power while two of them train a run together."""

import json

import pytest

from tests.cluster.conftest import (
    CLUSTER,
    LONGER,
    PROJECT,
    SUBMIT,
    WAIT_FOR_BOTH,
    Train,
    on_laptop,
    weights_on_cluster,
    write_spec,
)
from tests.cluster.hosts import Hosts
from tests.journey.conftest import digests, wait_for, wait_for_text

OPTIONS = "--fresh checkpoint.every_steps=7"
"""Another test has had the same numbers from this cluster; checkpoints change none."""
pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_power_cut_changes_no_bit(cluster: Hosts, train_here: Train) -> None:
    """A worker's power is cut in the middle of a run: the search waits, says so, and goes on.

    When the power is back, the head starts Ray on that machine by itself. The run goes on from
    its checkpoint with both machines and has the weights of one that nothing has disturbed; its
    receipt says what has interrupted it.
    """
    write_spec(cluster, "power", LONGER)
    on_laptop(cluster, f"ray rsync-up {CLUSTER}")
    submitted = cluster.start(
        "laptop", f"cd {PROJECT}; {SUBMIT} power.yaml {OPTIONS} > said.txt 2>&1"
    )
    folder = cluster.shared / "results/power/1"
    wait_for_text(folder / "journal.jsonl", '"epoch": 5')

    cluster.cut_power("worker")

    wait_for(lambda: "node worker is gone; starting its lanes again" in _said(cluster))
    wait_for(lambda: "waiting for a machine: resources.num_workers: 2" in _said(cluster))
    assert digests((folder / "journal.jsonl").read_text()) == {}
    cluster.plug_in("worker")
    assert submitted.wait(200) == 0, _said(cluster)
    assert "power#1: val/accuracy" in _said(cluster)
    receipt = json.loads((folder / "label_smoothing=0,seed=0/receipt.json").read_text())
    assert [attempt["world_size"] for attempt in receipt["attempts"]] == [2, 2]
    noted = {note["note"]: note for note in receipt["notes"]}
    assert noted["interrupted"]["cause"] == "node worker is gone"
    assert noted["resumed"]["checkpoint"]
    assert weights_on_cluster(cluster, "power") == train_here(LONGER)
    # The machine is one of the cluster's again.
    cluster.run("head", f"python -c '{WAIT_FOR_BOTH}'")


def _said(cluster: Hosts) -> str:
    """What the terminal has shown so far, its lines unbroken."""
    shown = on_laptop(cluster, "cat said.txt", check=False).stdout
    return " ".join(shown.split())
