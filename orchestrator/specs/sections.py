"""Keys `resources`, `tracking` and `checkpoint`: what a run takes, and where its records go."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from orchestrator.specs.devices import DEVICES_SCHEMA, check_devices, is_flat
from orchestrator.specs.section import Finding, Section, refuse

_SMALLEST_SHARE = 0.01
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


def _share(gpus: float) -> float:
    if 0 < gpus < _SMALLEST_SHARE:
        raise refuse(f"must be 0 or at least {_SMALLEST_SHARE} (got {gpus})")
    return gpus


class ResourcesSpec(Section):
    """Key `resources`: what one run takes of the machines."""

    num_workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together, each on its share of the batch (count, >= 1)."""
    min_workers: Annotated[int, Field(ge=1)] | None = None
    """Processes with which a run goes on, at least, after a machine was lost (count, >= 1,
    less than num_workers); it has all of them again once there is room. The batch stays as
    large, but sums are added in another order, and batch statistics are those of other shares
    unless they are synchronised: such a run is marked, and its results are not taken for
    another's. Unset: a run waits for the machines that it needs; its numbers stay the same."""
    cpus_per_worker: Annotated[int, Field(ge=1)] = 1
    """CPU cores and threads per worker (count, >= 1). Float sums, hence the numbers, depend on
    it."""
    gpus_per_worker: Annotated[float, Field(ge=0, le=1), AfterValidator(_share)] | None = None
    """GPUs per worker: 1, 0, or the share of one that runs of one worker have (count, 0 to 1;
    0.5 trains two at a time on each GPU). Unset: 1 where there is a GPU, else 0. Several GPUs
    for one run are several workers: resources.num_workers."""
    visible_devices: Annotated[
        Any, AfterValidator(check_devices), WithJsonSchema(DEVICES_SCHEMA)
    ] = None
    """The GPUs that the runs may use, by their numbers as nvidia-smi counts or by their UUIDs:
    a list for every node used, a list of lists for each lane, which trains one run at a time,
    or a map from a node's name, address or label `key=value` to either. Unset: every free GPU.
    Has no bearing on the numbers."""
    placement: Literal["pack", "spread"] = "pack"
    """Whether the workers of one run share a node where they can, or avoid to."""

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold: one key against another."""
        gpus = self.gpus_per_worker
        if gpus is not None and 0 < gpus < 1 and self.num_workers > 1:
            yield (
                "gpus_per_worker",
                "workers of one run cannot share a GPU; set it to 1, or num_workers to 1",
            )
        if gpus == 0 and self.visible_devices is not None:
            yield "visible_devices", "means nothing with gpus_per_worker: 0; leave one out"
        if self.min_workers is not None:
            yield from self._list_of_elastic(self.min_workers)
        if self.num_workers == 1 and self.differs("placement"):
            yield "placement", "means nothing with one worker per run; leave it out"

    def _list_of_elastic(self, fewest: int) -> Iterator[Finding]:
        if fewest >= self.num_workers:
            yield (
                "min_workers",
                f"must be less than num_workers, {self.num_workers} (got {fewest})",
            )
        devices = self.visible_devices
        if devices is not None and not is_flat(devices):
            yield (
                "visible_devices",
                "names GPUs of single lanes or nodes, and min_workers lets a run lose them; "
                "give one list for all nodes",
            )


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
