"""What Kubernetes accepts of a RayJob: KubeRay's own definition of the kind.

`rayjob.json.xz` is the `openAPIV3Schema` of version v1 in
ray-operator/config/crd/bases/ray.io_rayjobs.yaml of https://github.com/ray-project/kuberay,
release v1.7.0 of August 2026, Copyright the KubeRay authors, Apache-2.0. Its descriptions are
left out, nothing else is changed. To store that of another release:

    python -m tests.cluster.rayjob_schema ray.io_rayjobs.yaml
"""

import json
import lzma
import sys
from pathlib import Path
from typing import Any, Final

import yaml

_STORED: Final = Path(__file__).with_name("rayjob.json.xz")
_OPEN: Final = "x-kubernetes-preserve-unknown-fields"


def load_schema() -> Any:
    """As Kubernetes reads it strictly: what is not named is refused, but for `metadata`."""
    return _close(json.loads(lzma.decompress(_STORED.read_bytes())))


def _close(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return [_close(entry) for entry in schema] if isinstance(schema, list) else schema
    closed = {key: _close(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and not closed.get(_OPEN):
        closed.setdefault("additionalProperties", False)
    return closed


def _store(definition: Path) -> None:
    read = yaml.safe_load(definition.read_text())
    (version,) = [one for one in read["spec"]["versions"] if one["name"] == "v1"]
    schema = _strip(version["schema"]["openAPIV3Schema"])
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    _STORED.write_bytes(lzma.compress(text.encode(), preset=9))


def _strip(schema: Any, *, are_names: bool = False) -> Any:
    """Leave descriptions out, but not a field that is called so."""
    if isinstance(schema, list):
        return [_strip(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _strip(value, are_names=key == "properties" and not are_names)
        for key, value in schema.items()
        if are_names or key != "description"
    }


if __name__ == "__main__":
    _store(Path(sys.argv[1]))
