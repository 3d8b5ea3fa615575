"""Feature extraction: what layers of a recorded network give for every image, in one pass.

The images are a data set's, changed by the steps of evaluation; the network is a run's. The
two need not have met: features do not need the head to fit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from orchestrator.planning.run_plan import Place, RunPlan
from orchestrator.planning.section_plans import DataPlan, NormalizePlan
from orchestrator.training.context import configure_process
from orchestrator.training.data.build import RunData, build_data
from orchestrator.training.data.eval_loader import eval_batches, eval_positions
from orchestrator.training.feature_files import RowWriter, create_arrays
from orchestrator.training.feature_set import (
    IDS,
    LABELS,
    FeatureSet,
    file_name,
    read_description,
    write_description,
)
from orchestrator.training.layer_outputs import LayerReader, check_layers
from orchestrator.training.restore import (
    RestoredRun,
    choose_device,
    importing_from,
    open_parts,
    restore_run,
)


@dataclass(frozen=True, kw_only=True)
class FeatureJob:
    """What to extract; pickles, for workers."""

    run: RunPlan
    """The network; its place says where its weights and its code are now."""
    data: DataPlan
    """The images, in the channels that the network takes."""
    place: Place
    """Where the images lie."""
    seed: int
    """Draws the training images where not all are wanted, and redraws labels."""
    parts: tuple[str, ...]
    """Among `train`, `val` and `test`; their rows follow each other in this order."""
    layers: tuple[str, ...]
    pool: bool
    """Whether maps and tokens are averaged to one value per channel."""
    batch_size: int
    """Images of one worker at once."""


def fix_normalization(data: DataPlan, place: Place, *, seed: int) -> NormalizePlan:
    """What pixels are normalised by, measured statistics as given numbers.

    So every worker has them without reading the training images again.

    Raises:
        TrainingError: They are to be measured and the training images cannot be had.
    """
    if data.normalize.by != "measured":
        return data.normalize
    with importing_from(place.sources):
        found = build_data(data, place, seed=seed, parts=("train",)).train.normalization
    return NormalizePlan(by="given", mean=found.mean, std=found.std)


@contextmanager
def open_extraction(job: FeatureJob) -> Iterator["Extraction"]:
    """Restore the network and open the images; the user's modules can be imported meanwhile.

    Raises:
        RecordError: The run has left no weights.
        SpecError: A layer is not there.
        TrainingError: The network or the images cannot be had.
    """
    device = choose_device()
    numbers = job.run.numbers
    configure_process(
        threads=numbers.threads, deterministic=numbers.deterministic, device=device
    )
    with importing_from(job.run.place.sources):
        restored = restore_run(job.run, device)
        check_layers(restored.model, job.layers)
        with importing_from(job.place.sources):
            data = open_parts(job.data, job.place, seed=job.seed, parts=job.parts)
            yield Extraction(job, restored, data, device)


class Extraction:
    """A network and images, both open; made by `open_extraction`.

    Args:
        job: What to extract.
        restored: The network.
        data: The images.
        device: Where the network lives.
    """

    def __init__(
        self, job: FeatureJob, restored: RestoredRun, data: RunData, device: torch.device
    ) -> None:
        self._job = job
        self._restored = restored
        self._data = data
        self._device = device
        self._reader = LayerReader(
            restored.model, job.layers, pool=job.pool, precision=restored.precision
        )

    def create(self, folder: Path) -> FeatureSet:
        """Make the files, rows still zero, with labels, ids and the description complete.

        Shapes are those of a pass of the first two images.

        Raises:
            SpecError: A layer's output cannot be kept.
            TrainingError: The network cannot take the images.
            InfeasibleError: The disk has no room.
        """
        job, parts = self._job, [self._data.parts[part] for part in self._job.parts]
        size, rows = 0, {}
        for part, images in zip(job.parts, parts, strict=True):
            rows[part] = (size, size + len(images))
            size += len(images)
        features = FeatureSet(
            run=job.run.run_id,
            weights=self._restored.weights.name,
            dataset=job.data.dataset,
            classes=self._data.classes,
            trained_classes=self._restored.classes,
            pooled=job.pool,
            rows=rows,
            shapes={name: (size, *shape) for name, shape in self._measure().items()},
            files={name: file_name(name) for name in job.layers},
        )
        create_arrays(
            folder, {features.files[name]: shape for name, shape in features.shapes.items()}
        )
        np.save(folder / LABELS, torch.cat([images.labels for images in parts]).numpy())
        np.save(folder / IDS, torch.cat([images.ids for images in parts]).numpy())
        write_description(folder, features)
        return features

    def write_share(self, folder: Path, *, rank: int, world_size: int) -> Iterator[int]:
        """Write the rows of one worker: every `world_size`-th of each part.

        The files are made by `create`, by any process; on several nodes the folder must be on
        storage that they share.

        Args:
            folder: Where the files are.
            rank: Number of this worker.
            world_size: Number of workers.

        Yields:
            The number of images of each batch, once it is written.
        """
        files = read_description(folder).files
        writers = {name: RowWriter(folder / files[name]) for name in self._job.layers}
        try:
            first = 0
            for part in self._job.parts:
                yield from self._write_part(part, first, writers, rank, world_size)
                first += len(self._data.parts[part])
        finally:
            for writer in writers.values():
                writer.close()

    def _write_part(
        self, part: str, first: int, writers: dict[str, RowWriter], rank: int, world_size: int
    ) -> Iterator[int]:
        images, size = self._data.parts[part], self._job.batch_size
        if rank >= len(images):
            return
        positions = eval_positions(images, rank=rank, world_size=world_size).split(size)
        batches = eval_batches(
            images,
            self._job.data,
            positions,
            device=self._device,
            loader_workers=self._job.place.loader_workers,
        )
        for places, (pixels, _) in zip(positions, batches, strict=True):
            for name, values in self._reader.read(pixels).items():
                writers[name].write((places + first).numpy(), values.cpu().numpy())
            yield len(places)

    def _measure(self) -> dict[str, tuple[int, ...]]:
        images = self._data.parts[self._job.parts[0]]
        # One image alone would not tell rows of tokens from rows of images.
        few = [torch.arange(min(2, len(images)))]
        batches = eval_batches(
            images, self._job.data, few, device=self._device, loader_workers=0
        )
        values = next(self._reader.read(pixels) for pixels, _ in batches)
        return {name: tuple(value.shape[1:]) for name, value in values.items()}
