"""Feature extraction by several Ray tasks, each with every N-th image."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import InfeasibleError, OrchestratorError, TrainingError
from orchestrator.launch.cluster import look, running_ray
from orchestrator.launch.devices import Patience, pin
from orchestrator.planning.cluster import Cluster
from orchestrator.planning.lanes import LanePlan, LaneRequest
from orchestrator.planning.placement import place_lanes
from orchestrator.planning.refusals import find_held
from orchestrator.training.features import FeatureJob, open_extraction


def extract_by_workers(job: FeatureJob, folder: Path, *, workers: int) -> Iterator[int]:
    """Let Ray tasks write the rows of features, each those of its own images.

    On a cluster of several nodes the folder, the run's folder and the images must lie on
    storage that the nodes share, under the same paths: Ray places the tasks where it likes.

    Args:
        job: What to extract.
        folder: Absolute; its files are made.
        workers: Tasks that run side by side, each on as many CPUs as the run had threads, and
            on a GPU where there is one, which no search of ours is given meanwhile.

    Yields:
        The number of images of each batch, once it is written.

    Raises:
        InfeasibleError: The machines have no room for so many at once.
        TrainingError: A worker failed; its cause.
    """
    cluster = look()
    cpus, gpus = job.run.numbers.threads, 1 if cluster.gpus else 0
    _check_room(cluster, workers, cpus=cpus, gpus=gpus)
    places = _place(cluster, workers, cpus=cpus, gpus=gpus)
    devices = dict.fromkeys(seat.device for lane in places.seats for seat in lane)
    with (
        tempfile.TemporaryDirectory() as logs,
        running_ray(cluster, devices=list(devices), logs=Path(logs)),
    ):
        import ray

        from orchestrator.launch.reservation import reserved

        # Rows that are written twice would be the same, but a worker that died of memory once
        # does so again.
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_write_share)
        with reserved(places, f"features of {job.run.run_id}", Patience()):
            streams = []
            for rank in range(workers):
                device, node = "", {}
                if places.seats:
                    (seat,) = places.seats[rank]
                    device = seat.device
                    node = {"ray.io/node-id": seat.node_id} if seat.node_id else {}
                streaming = task.options(num_returns="streaming", label_selector=node)
                streams.append(streaming.remote(job, str(folder), device, rank, workers))
            yield from _follow(streams)


def _place(cluster: Cluster, workers: int, *, cpus: int, gpus: int) -> LanePlan:
    """A place for each worker; on GPUs that are known one by one, a GPU that nobody holds."""
    asked = LaneRequest(
        workers=1, cpus_per_worker=cpus, gpus_per_worker=gpus, deterministic="false"
    )
    places = place_lanes(cluster, asked, most=workers)
    held = find_held(cluster, places)
    free = 0 if held else places.lanes
    if free < workers:
        raise InfeasibleError(f"--workers: other searches hold GPUs; there is room for {free}")
    return places


def _write_share(
    job: FeatureJob, folder: str, device: str, rank: int, world_size: int
) -> Iterator[int]:
    if device:
        pin([device], 0, alone=True)
    with open_extraction(job) as extraction:
        yield from extraction.write_share(Path(folder), rank=rank, world_size=world_size)


def _follow(streams: list[Any]) -> Iterator[int]:
    import ray

    while streams:
        ready, _ = ray.wait(streams, num_returns=1, fetch_local=False)
        for stream in ready:
            try:
                yield ray.get(next(stream))
            except StopIteration:
                streams.remove(stream)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, OrchestratorError):
                    raise cause from None
                raise
            except ray.exceptions.RayError as error:
                text = " ".join(str(error).split())[:300]
                raise TrainingError(f"a worker of the extraction died: {text}") from error


def _check_room(cluster: Cluster, workers: int, *, cpus: int, gpus: int) -> None:
    places = sum(
        min(node.cpus // cpus, node.gpus if gpus else workers) for node in cluster.nodes
    )
    if workers > places:
        each = f"{cpus} CPU{'s' if cpus > 1 else ''}" + (" and 1 GPU" if gpus else "")
        raise InfeasibleError(
            f"--workers: {workers} workers of {each} each do not fit; "
            f"there is room for {places}"
        )
