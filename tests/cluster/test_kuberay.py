"""The manifest for Kubernetes, held to what KubeRay accepts."""

import copy
import json
import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from jsonschema.validators import Draft202012Validator

from tests.cluster.rayjob_schema import RAY_JOB

ROOT = Path(__file__).parents[2]
PUBLISHED = os.environ.get("KUBERAY_CRD", "")
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


def test_the_job_is_one() -> None:
    """Names, types and required fields are those of KubeRay's RayJob."""
    Draft202012Validator.check_schema(RAY_JOB)

    Draft202012Validator(RAY_JOB).validate(read()[1])


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
    ],
    ids=["unknown key", "text for a number", "no name", "number for text"],
)
def test_the_schema_is_one_that_refuses(spoil: Callable[[Manifest], None], said: str) -> None:
    """What the test above rests on: the same manifest with one mistake is refused."""
    job = copy.deepcopy(read()[1])
    spoil(job)

    with pytest.raises(ValidationError, match=re.escape(said)):
        Draft202012Validator(RAY_JOB).validate(job)


@pytest.mark.skipif(not PUBLISHED, reason="KUBERAY_CRD names no copy of ray.io_rayjobs.yaml")
def test_the_published_definition_accepts_it() -> None:
    """KubeRay's own definition of the kind, of which nothing else may be in the manifest."""
    definition = yaml.safe_load(Path(PUBLISHED).read_text())
    (schema,) = [
        kind["schema"]["openAPIV3Schema"]
        for kind in definition["spec"]["versions"]
        if kind["name"] == "v1"
    ]

    assert list(Draft202012Validator(_closed(schema)).iter_errors(read()[1])) == []


def _closed(schema: Any) -> Any:
    """As Kubernetes reads it strictly: what is not named is refused, but for `metadata`."""
    if not isinstance(schema, dict):
        return [_closed(entry) for entry in schema] if isinstance(schema, list) else schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


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
