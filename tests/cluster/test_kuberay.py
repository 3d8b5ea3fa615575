"""The manifest for Kubernetes, held to what KubeRay accepts."""

import copy
import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from jsonschema.validators import Draft202012Validator

from tests.cluster.rayjob_schema import load_schema

ROOT = Path(__file__).parents[2]
ACCEPTED = Draft202012Validator(load_schema())
Manifest = dict[str, Any]


def read() -> tuple[Manifest, Manifest]:
    """The volume and the job."""
    volume, job = yaml.safe_load_all((ROOT / "kuberay.yaml").read_text())
    return volume, job


def workers(job: Manifest) -> Manifest:
    """The only group of workers."""
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    found: Manifest = group
    return found


def container(job: Manifest) -> Manifest:
    """The only container of a worker."""
    (one,) = workers(job)["template"]["spec"]["containers"]
    found: Manifest = one
    return found


def test_the_job_is_one() -> None:
    """Names, types and required fields are those of KubeRay's RayJob."""
    job = read()[1]

    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    ACCEPTED.validate(job)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda job: job["spec"].update(entryPoint="x"), "'entryPoint' was unexpected"),
        (lambda job: workers(job).update(replicas="2"), "'2' is not of type 'integer'"),
        (lambda job: workers(job).pop("groupName"), "'groupName' is a required property"),
        (
            lambda job: workers(job)["rayStartParams"].update({"num-cpus": 0}),
            "0 is not of type 'string'",
        ),
        (
            lambda job: container(job).update(comand=["x"]),
            "'comand' was unexpected",
        ),
        (
            lambda job: container(job)["resources"]["limits"].update(memory="8 GB"),
            "'8 GB' does not match",
        ),
    ],
    ids=[
        "unknown key",
        "text for a number",
        "no name",
        "number for text",
        "unknown key of a container",
        "unknown unit",
    ],
)
def test_the_schema_is_one_that_refuses(spoil: Callable[[Manifest], None], said: str) -> None:
    """What the test above rests on: the same manifest with one mistake is refused."""
    job = copy.deepcopy(read()[1])
    spoil(job)

    with pytest.raises(ValidationError, match=re.escape(said)):
        ACCEPTED.validate(job)


def test_pods_agree_with_one_another() -> None:
    """The Ray of the constraints; a token per GPU; results on a volume that all may write."""
    volume, job = read()
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    worker = workers(job)["template"]["spec"]

    assert cluster["rayVersion"] == version("ray")
    assert (
        f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()
    )
    # KubeRay writes it into a shell's command as it stands: JSON in quotes.
    tokens = json.loads(json.loads(workers(job)["rayStartParams"]["resources"]))
    gpus = int(worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert tokens == {f"gpu_{index}": 1 for index in range(gpus)}
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in (head, worker):
        (container,) = pod["containers"]
        assert {"name": "ORCHESTRATOR_STORAGE", "value": "/results"} in container["env"]
        assert {"name": "results", "mountPath": "/results"} in container["volumeMounts"]
        claim = {"claimName": volume["metadata"]["name"]}
        assert {"name": "results", "persistentVolumeClaim": claim} in pod["volumes"]
