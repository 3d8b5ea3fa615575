"""What Kubernetes accepts of a RayJob, as far as `kuberay.yaml` uses it: JSON Schema, by hand.

Names, types and required fields as in KubeRay's published definition of the kind, version v1
(ray-operator/config/crd/bases/ray.io_rayjobs.yaml of ray-project/kuberay, Apache-2.0, of August
2026), and one's own words. What is not named here is refused: a field more in the manifest
needs a look there.
"""

from typing import Any, Final

Schema = dict[str, Any]


def _map(required: tuple[str, ...] = (), **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer"}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": _TEXT}
_AMOUNT: Final[Schema] = {
    "anyOf": [_COUNT, {"type": "string", "pattern": r"^\d+(\.\d+)?([KMGTPE]i|[numkMGTPE])?$"}]
}
_AMOUNTS: Final[Schema] = {"type": "object", "additionalProperties": _AMOUNT}
_CONTAINER: Final = _map(
    ("name",),
    name=_TEXT,
    image=_TEXT,
    env=_list(_map(("name",), name=_TEXT, value=_TEXT)),
    resources=_map(limits=_AMOUNTS, requests=_AMOUNTS),
    volumeMounts=_list(_map(("mountPath", "name"), name=_TEXT, mountPath=_TEXT)),
)
_VOLUME: Final = _map(
    ("name",),
    name=_TEXT,
    persistentVolumeClaim=_map(("claimName",), claimName=_TEXT),
    emptyDir=_map(medium=_TEXT, sizeLimit=_AMOUNT),
)
_POD: Final = _map(
    spec=_map(("containers",), containers=_list(_CONTAINER), volumes=_list(_VOLUME))
)
_HEAD: Final = _map(("template",), serviceType=_TEXT, rayStartParams=_TEXTS, template=_POD)
_WORKERS: Final = _map(
    ("groupName", "maxReplicas", "minReplicas", "template"),
    groupName=_TEXT,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    rayStartParams=_TEXTS,
    template=_POD,
)
_CLUSTER: Final = _map(
    ("headGroupSpec",),
    rayVersion=_TEXT,
    authOptions=_map(mode={"enum": ["disabled", "token"]}),
    headGroupSpec=_HEAD,
    workerGroupSpecs=_list(_WORKERS),
)
RAY_JOB: Final = _map(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_map(("name",), name=_TEXT),
    spec=_map(
        entrypoint=_TEXT,
        shutdownAfterJobFinishes=_FLAG,
        ttlSecondsAfterFinished=_COUNT,
        backoffLimit=_COUNT,
        rayClusterSpec=_CLUSTER,
    ),
)
"""Of the whole manifest."""
