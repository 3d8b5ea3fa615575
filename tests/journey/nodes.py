"""A Ray of several nodes on this machine, which come and go when they are told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journey.conftest import answer_of, running

NODES = """
import os, sys, ray
from ray.cluster_utils import Cluster

def add(name, cpus):
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    if "NOTICES" in os.environ:
        os.environ["ORCHESTRATOR_NOTICE"] = f"{os.environ['NOTICES']}/{name}"
    gpus = {"num_gpus": 2, "resources": {"gpu_0": 1, "gpu_1": 1}} if cpus else {"num_gpus": 0}
    # Addresses of their own, so that a driver on this machine belongs to the head.
    address = {"node_ip_address": f"127.0.0.{'_abc'.index(name) + 1}"} if cpus else {}
    return cluster.add_node(num_cpus=cpus, labels={"box": name}, **gpus, **address)

cluster = Cluster()
nodes = {"head": add("head", 0), "a": add("a", 2), "b": add("b", 2)}
print(cluster.address, flush=True)
for line in sys.stdin:
    word, name = line.split()
    if word == "kill":
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    else:
        nodes[name] = add(name, 2)
    print(word, name, flush=True)
cluster.shutdown()
"""


PACED = """
import time

def paced_loss(logits, targets):
    time.sleep(0.04)
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
"""
"""A loss of one's own that takes its time: a run lasts long enough on a fast machine too."""


def write_paced(folder: Path, text: str) -> str:
    """Write a spec whose loss is `pace:paced_loss`; its name."""
    (folder / "pace.py").write_text(PACED)
    (folder / "paced.yaml").write_text(text)
    return "paced.yaml"


@contextmanager
def three_nodes(**variables: str) -> "Iterator[subprocess.Popen[str]]":
    """A Ray of a head and two nodes of two GPUs each; takes `kill a` and `add c`."""
    with running(NODES, RAY_AUTH_MODE="disabled", **variables) as process:
        yield process


def ask(process: "subprocess.Popen[str]", text: str) -> str:
    """Tell the program something; the line that it answers with."""
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()
    return answer_of(process)


def list_nodes(joined: dict[str, str]) -> list[str]:
    """The nodes of a Ray that are alive, as another driver sees them."""
    program = (
        "import ray; ray.init(address='auto', log_to_driver=False); "
        "print(*[node['NodeID'] for node in ray.nodes() if node['Alive']])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **joined},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()
