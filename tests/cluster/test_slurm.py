"""`slurm.sbatch` on two machines, of which another job has one too."""

import json
import shlex
import subprocess

import pytest

from tests.cluster.conftest import PROJECT, SMALL, Train, weights_on_cluster, write
from tests.cluster.hosts import SHARED, Hosts
from tests.journey.conftest import wait_for, wait_for_text
from tests.slurm import describe_job, write_commands

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

HOME = f"{SHARED}/home"
"""Where the jobs run, as a folder that the nodes of a real Slurm share."""
ONE_WORKER = SMALL.replace("num_workers: 2", "num_workers: 1").replace(
    "epochs: 2", "epochs: 999"
)
BOTH, OTHER = 30001, 30002


def begin_job(
    hosts: Hosts, number: int, nodes: list[str], experiment: str
) -> "subprocess.Popen[str]":
    """What Slurm does when a job's nodes are free."""
    variables = {
        **describe_job(number, nodes, cpus=1),
        "ORCHESTRATOR_STORAGE": f"{HOME}/results",
        "REQUEUED": f"{HOME}/requeued-{number}",
    }
    told = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return hosts.start(
        nodes[0],
        f"cd {HOME}/project && echo $$ >{HOME}/pid-{number}\n"
        f"export PATH={HOME}/bin:$PATH {told}\n"
        f"exec bash slurm.sbatch {experiment} >{HOME}/output-{number} 2>&1",
    )


def processes_of_job(hosts: Hosts, number: int) -> str:
    """The job's processes, on both machines."""
    search = f"grep -lszx SLURM_JOB_ID={number} /proc/[0-9]*/environ"
    return "".join(hosts.run(name, search, check=False).stdout for name in ("head", "worker"))


def test_a_job_of_two_nodes_leaves_another_alone(hosts: Hosts, train_here: Train) -> None:
    """Both nodes train each run together; a job that has one of them as well trains on.

    Afterwards nothing of the first is left on any node; the other, told that its time is over,
    is queued again.
    """
    shared = hosts.shared / "home"
    shared.mkdir()
    write_commands(shared / "bin")
    hosts.run("laptop", f"cp -r {PROJECT} {HOME}/project")
    for name, spec in (("both", SMALL), ("other", ONE_WORKER)):
        write(hosts, "laptop", f"{HOME}/project/{name}.yaml", f"name: {name}\n{spec}")
    other = begin_job(hosts, OTHER, ["worker"], "other.yaml")
    journal = shared / "results/other/1/journal.jsonl"
    wait_for_text(journal, '"kind": "epoch"')

    job = begin_job(hosts, BOTH, ["head", "worker"], "both.yaml")

    assert job.wait(280) == 0, (shared / f"output-{BOTH}").read_text()
    assert "both#1: val/accuracy" in (shared / f"output-{BOTH}").read_text()
    receipt = shared / "results/both/1/label_smoothing=0.4,seed=0/receipt.json"
    (attempt,) = json.loads(receipt.read_text())["attempts"]
    assert {worker["host"] for worker in attempt["workers"]} == {"head", "worker"}
    assert weights_on_cluster(hosts, "both", storage="home/results") == train_here(SMALL)
    wait_for(lambda: not processes_of_job(hosts, BOTH), timeout_s=30)
    # The other job's Ray is there still, and trains.
    assert processes_of_job(hosts, OTHER)
    epochs = journal.read_text().count('"kind": "epoch"')
    wait_for(lambda: journal.read_text().count('"kind": "epoch"') > epochs)
    assert other.poll() is None
    hosts.run("worker", f"kill -USR1 $(cat {HOME}/pid-{OTHER})")
    assert other.wait(100) == 75, (shared / f"output-{OTHER}").read_text()
    assert (shared / f"requeued-{OTHER}").read_text() == f"{OTHER}\n"
    assert not (shared / f"requeued-{BOTH}").exists()
    wait_for(lambda: not processes_of_job(hosts, OTHER), timeout_s=30)
