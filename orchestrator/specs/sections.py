"""Keys `resources`, `tracking` and `checkpoint`: what a run takes, and where its records go."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from orchestrator.specs.section import Finding, Section, refuse

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
    """Key `checkpoint`: what stays of a training that dies, and how much of it on the disk."""

    every_epochs: Annotated[int, Field(ge=0)] | None = None
    """Epochs from one checkpoint to the next (count, >= 0); 0 for none at the ends of epochs,
    and none of a run that has finished. Unset: at the first epoch's end that is 10 seconds or
    more after the last one."""
    every_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps from one checkpoint to the next, in the middle of epochs too (count,
    >= 1). Unset: none but those of every_epochs."""
    keep_last: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints of a run that stay while it is trained (count, >= 1); where one is
    damaged, the one before it is used."""
    keep_best: Annotated[int, Field(ge=0)] = 0
    """Checkpoints of the best epochs, by search.metric, that stay for good (count, >= 0)."""

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        if self.keep_best and not self.every_epochs:
            yield "keep_best", "needs every_epochs: else not every epoch has a checkpoint"
