"""A cluster whose autoscaler may add nodes: Ray's own, with nodes that are processes here."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.launch.growth import find_growth
from tests.journey.conftest import Orchestrate, wait_for

PORT = 6379
"""Ray's pretend provider lets its nodes look for the head there and nowhere else."""
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider"
HEAD_ID = "f" * 51 + "00000"
LISTS = (
    *("initialization_commands", "setup_commands", "cluster_synced_files", "rsync_exclude"),
    *("rsync_filter", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
)


def describe(**changes: Any) -> dict[str, Any]:
    """A cluster's file: a head without CPUs, and up to two nodes of two CPUs."""
    return {
        "cluster_name": "pretended",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "external",
            "module": f"{PROVIDER}.FakeMultiNodeProvider",
            "head_node_id": HEAD_ID,
            "disable_node_updaters": True,
        },
        "auth": {},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 2},
        },
        "docker": {},
        "file_mounts": {},
        "head_node": {},
        "worker_nodes": {},
        **{name: [] for name in LISTS},
        **changes,
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a head's user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "ray_bootstrap_config.yaml"


def test_what_may_be_added_is_read_on_the_head(home: Path) -> None:
    """As many of each type as the file allows, no more than in all; none where it is not."""
    elsewhere = find_growth(1)
    gpu = {"resources": {"CPU": 8, "GPU": 2}, "node_config": {}, "max_workers": 9}
    types = {**describe()["available_node_types"], "gpu": gpu}
    home.write_text(json.dumps(describe(max_workers=4, available_node_types=types)))
    first, later = find_growth(1), find_growth(4)
    home.write_text(json.dumps(describe(provider={"type": "local"})))

    assert elsewhere == ()
    assert [node.name.partition(" ")[0] for node in first] == ["cpu", "cpu", "gpu", "gpu"]
    assert [device.index for device in first[-1].devices] == ["0", "1"]
    assert (first[-1].cpus, first[-1].gpus) == (8, 2)
    assert len(later) == 1
    assert find_growth(1) == ()


@pytest.fixture
def growing_ray(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """What a command on the head of a cluster without a node must know."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"another Ray uses port {PORT}")
    config = tmp_path / "ray_bootstrap_config.yaml"
    config.write_text(json.dumps(describe()))
    known = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    own = {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_enable_autoscaler_v2": "0",
        "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    }
    folder = tmp_path_factory.getbasetemp() / "g"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false"),
            *(f"--temp-dir={folder}", f"--autoscaling-config={config}"),
        ],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            **known,
            **own,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    wait_for(lambda: _listens())
    yield {**known, "RAY_ADDRESS": f"127.0.0.1:{PORT}"}
    process.terminate()
    process.wait(60)
    # Its nodes are children of its monitor.
    os.killpg(process.pid, signal.SIGKILL)


def _listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


@pytest.mark.slow
def test_a_search_waits_for_the_nodes_that_it_needs(
    orchestrate: Orchestrate, small_spec: str, growing_ray: dict[str, str]
) -> None:
    """Planned for what may be added; what never fits is refused at once, with the number."""
    planned = orchestrate("plan", small_spec, **growing_ray)
    refused = orchestrate("run", small_spec, "resources.num_workers=5", **growing_ray)
    done = orchestrate("run", small_spec, "resources.cpus_per_worker=2", **growing_ray)

    assert "1 node and 2 that may be added, 4 CPUs" in planned.out, planned.err
    assert refused.status == 3
    assert refused.err.endswith(
        "5 workers of 1 CPU each do not fit on 1 node and 2 that may be added with 4 CPUs and "
        "0 GPUs; set it to 4 at most\n"
    )
    assert done.status == 0, done.err
    assert "the autoscaler makes room for 2 workers; taking what there is in " in done.out
    assert "label_smoothing=0.4" in done.out
