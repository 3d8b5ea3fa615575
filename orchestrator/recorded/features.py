"""Verb `features`: what layers of a recorded network give for images of any data set.

options = FeatureOptions(layers=("layer3", "avgpool"), out=Path("features"))
extract_features("other.yaml", run="digits@best", options=options)
"""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SpecError
from orchestrator.inputs import read_surroundings
from orchestrator.launch.environment import prepare_environment
from orchestrator.planning.data_numbers import choose_cache, resolve_data
from orchestrator.planning.resolve import SOURCES
from orchestrator.planning.run_plan import Place, RunPlan
from orchestrator.recorded.runs import find_recorded
from orchestrator.sources import copy_sources
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.specs.model_section import ModelSpec
from orchestrator.specs.search import corners
from orchestrator.specs.training_sections import LossSpec
from orchestrator.tracking.lookup import FoundRun

if TYPE_CHECKING:
    from orchestrator.training.feature_set import FeatureSet
    from orchestrator.training.features import Extraction, FeatureJob

Source = str | Path | Mapping[str, Any] | ExperimentSpec
Progress = Callable[[int, int], None]
"""Called with the number of images done and of all."""


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """How features are extracted."""

    layers: tuple[str, ...]
    out: Path
    """Folder for the arrays; made, or empty."""
    parts: tuple[str, ...] = ("val",)
    pool: bool = False
    """Whether maps and tokens are averaged to one value per channel."""
    workers: int = 1
    """Processes; several are Ray's tasks."""
    batch_size: int = 64


def extract_features(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    run: str,
    options: FeatureOptions,
    storage_path: str | None = None,
    progress: Progress | None = None,
) -> "FeatureSet":
    """Write what layers of a recorded network give for images of any data set.

    Of the spec only `data`, `seed` and `storage_path` are read. Its images, classes, labels and
    evaluation transforms are taken as they are; its classes need not be the run's, since
    features do not need the head to fit. They are brought to what the network takes: always to
    its channels, to its image size unless the spec sets `data.image_size`, and normalised as it
    was trained unless the spec sets `data.normalize`.

    Args:
        source: Path of an experiment file, a map of the same form, or a loaded spec.
        overrides: `key.sub=value`, the value as YAML.
        run: As `find_recorded` takes it.
        options: Which layers, of which images, to where.
        storage_path: Where the records are; the spec's by default.
        progress: Told of the images done.

    Returns:
        What lies in the folder.

    Raises:
        SpecError: The spec, a layer or the folder is wrong; nothing was written.
        RecordError: There is no such run, or it has left no weights.
        InfeasibleError: There is no room, on the disk or for so many workers.
        TrainingError: The images cannot be had, or the network cannot take them.
    """
    from orchestrator.training.feature_files import check_output, finished_or_gone
    from orchestrator.training.features import open_extraction

    out = Path(os.path.abspath(options.out))  # noqa: PTH100  Path.resolve would follow links
    check_output(out)
    prepare_environment()
    spec = source if isinstance(source, ExperimentSpec) else load_spec(source, overrides)
    recorded = find_recorded(run, storage_path=storage_path or spec.keys.storage_path)
    with finished_or_gone(out) as folder:
        job = _resolve_job(spec, recorded.plan, options, folder)
        with open_extraction(job) as extraction:
            features = extraction.create(folder)
            counts = _write(extraction, job, folder, workers=options.workers)
            _follow(counts, features.size, progress or _tell_nobody)
    return features


def _follow(counts: Generator[int], size: int, tell: Progress) -> None:
    done = 0
    tell(done, size)
    # Closed before the folder goes, so that nobody writes into it any more.
    with closing(counts):
        for count in counts:
            done += count
            tell(done, size)


def _write(
    extraction: "Extraction", job: "FeatureJob", folder: Path, *, workers: int
) -> Generator[int]:
    if workers == 1:
        yield from extraction.write_share(folder, rank=0, world_size=1)
        return
    from orchestrator.launch.extraction import extract_by_workers

    yield from extract_by_workers(job, folder, workers=workers)


def _resolve_job(
    spec: ExperimentSpec, run: RunPlan, options: FeatureOptions, folder: Path
) -> "FeatureJob":
    """What to extract, decided; the user's own data code is copied into the folder."""
    from orchestrator.training.features import FeatureJob, fix_normalization

    alone = _data_alone(spec, run)
    around = read_surroundings(alone, _find_no_run)
    copy_sources(around.sources, folder / SOURCES)
    keys = alone.keys.data
    place = Place(
        folder="",
        loader_workers=keys.loader_workers,
        data_root=keys.root or "",
        download=keys.download,
        cache=choose_cache(keys),
        sources=str(folder / SOURCES) if around.sources else "",
    )
    trained = run.numbers.data
    data = replace(resolve_data(alone.keys, around.inputs.data), channels=trained.channels)
    if spec.keys.data.normalize is None:
        normalize = fix_normalization(trained, run.place, seed=run.numbers.seed)
    else:
        normalize = fix_normalization(data, place, seed=spec.keys.seed)
    if len(normalize.mean) not in (0, 1, trained.channels):
        raise SpecError(
            [
                f"{spec.place_of('data.normalize')}: data.normalize: has "
                f"{len(normalize.mean)} channels, the network of {run.run_id} takes "
                f"{trained.channels}; leave it out to normalise as that was trained"
            ]
        )
    return FeatureJob(
        run=run,
        data=replace(data, normalize=normalize),
        place=place,
        seed=spec.keys.seed,
        parts=options.parts,
        layers=options.layers,
        pool=options.pool,
        batch_size=options.batch_size,
    )


def _data_alone(spec: ExperimentSpec, run: RunPlan) -> ExperimentSpec:
    """The spec with nothing but its data left to be read, at the network's image size."""
    for key, space in spec.spaces.items():
        if key.startswith("data.") or key == "seed":
            raise SpecError(
                [
                    f"{spec.place_of(key)}: {key}: is searched over; give it one value, such "
                    f"as {key}={corners(space)[0]}"
                ]
            )
    data = spec.keys.data
    if data.image_size is None:
        data = data.model_copy(update={"image_size": run.numbers.data.image_size})
    keys = spec.keys.model_copy(
        update={"data": data, "model": ModelSpec(architecture="small_cnn"), "loss": LossSpec()}
    )
    return replace(spec, keys=keys, spaces={})


def _tell_nobody(done: int, size: int) -> None:
    pass


def _find_no_run(name: str) -> FoundRun:
    raise AssertionError(name)
