"""Keys `resources`, `tracking` and `checkpoint`: what a run takes, and where its records go."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from orchestrator.specs.section import Section, refuse

_PASSWORD = re.compile(r"[\w+.-]+://[^/?#]*:[^/?#]*@")


def _known_store(uri: str) -> str:
    if _PASSWORD.match(uri):
        # The address is not repeated: it would be printed, password and all.
        raise refuse(
            "holds a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
            "instead"
        )
    if uri.startswith(("http://", "https://", "sqlite:///")):
        return uri
    reason = "file stores are not supported" if uri.startswith("file:") else "no such store"
    raise refuse(f"{reason} (got {uri!r}); use 'sqlite:///PATH' or an http address")


class ResourcesSpec(Section):
    """Key `resources`: what one run takes of the machines."""

    num_workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together, each on its share of the batch (count, >= 1)."""
    cpus_per_worker: Annotated[int, Field(ge=1)] = 1
    """CPU cores and threads per worker (count, >= 1). Float sums, hence the numbers, depend on
    it."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=1)] | None = None
    """GPUs per worker (count, 0 or 1). Unset: 1 where there is a GPU, else 0. Several GPUs
    for one run are several workers: resources.num_workers."""


class TrackingSpec(Section):
    """Key `tracking`: where MLflow keeps the records."""

    uri: Annotated[str, AfterValidator(_known_store)] | None = None
    """Address of MLflow's store: `sqlite:///PATH`, relative to the YAML file, or a server's
    http address, without a password: MLflow takes it from MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD. Unset: an SQLite file under storage_path."""


class CheckpointSpec(Section):
    """Key `checkpoint`: none of its keys is built yet."""
