"""What must be read before a plan can be made: images, weights, the user's own code.

A plan is made of values alone; whoever starts one looks at the files first. What needs torch is
loaded only where the spec asks for it: digits and synthetic images cost nothing here.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import OrchestratorError, SpecError, nothing_is_trained
from orchestrator.planning.checks import located
from orchestrator.planning.facts import DataSetFacts, FileFacts, Inputs, known_facts
from orchestrator.planning.manifest import scan_image_folder, split_manifest
from orchestrator.planning.table import scan_table
from orchestrator.sources import (
    digest_installed,
    digest_sources,
    find_import_root,
    find_sources,
    list_values,
)
from orchestrator.specs.data_section import DataSpec
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.model_section import is_torchvision_weights
from orchestrator.tracking.lookup import FoundRun
from orchestrator.tracking.mirror import bring_run

FindRun = Callable[[str], FoundRun]
_WEIGHTS = ("best.safetensors", "last.safetensors")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What was read, and the user's own files that have to travel."""

    inputs: Inputs
    sources: Mapping[str, Path] = field(default_factory=dict)
    """Path below the folder that they are imported from, to the file."""
    root: str = ""
    """That folder; empty where there are none."""


def read_surroundings(spec: ExperimentSpec, find_run: FindRun) -> Surroundings:
    """Look at every file that an experiment starts from.

    Args:
        spec: What was asked.
        find_run: From the name of a recorded run to the run.

    Raises:
        SpecError: A file, a run, a class or a module is not there, a data set cannot be read,
            or a share is asked for of a part that it brings; each with its place.
    """
    sources = find_sources(spec)
    root = str(find_import_root(spec)) if sources else ""
    with located(spec), nothing_is_trained():
        data = read_data(spec.keys.data, root)
    return Surroundings(
        inputs=Inputs(
            data=data,
            weights=_read_weights(spec, find_run),
            tensors=_read_tensors(spec),
            sources=digest_sources(sources),
            installed=digest_installed(spec, sources),
        ),
        sources=sources,
        root=root,
    )


def read_data(data: DataSpec, root: str) -> DataSetFacts:
    """What a data set holds.

    Args:
        data: Key `data`.
        root: Folder that the user's own code is imported from; empty where there is none.

    Raises:
        SpecError: It cannot be read, or lacks what is asked of it.
        TrainingError: The user's own data set raised.
    """
    known = known_facts(data)
    if known is not None:
        return known
    if data.dataset not in ("image_folder", "table"):
        from orchestrator.training.data.describe import describe_data_set, given_parts

        _check_shares(data, given_parts(data.dataset))
        return DataSetFacts(**describe_data_set(data.model_dump(), sources=root))
    assert data.root is not None
    scan = scan_table if data.dataset == "table" else scan_image_folder
    manifest = scan(data.root)
    _check_shares(data, {entry.split for entry in manifest.entries})
    parts = split_manifest(manifest, data.val_share, data.test_share)
    kept = list(range(len(manifest.classes)))
    if data.classes is not None:
        _check_classes(data.classes, manifest.classes)
        kept = [manifest.classes.index(name) for name in data.classes]
    labels = frozenset(kept)
    sizes = {
        part: sum(manifest.entries[position].label in labels for position in positions)
        for part, positions in parts.items()
    }
    if not sizes["val"]:
        raise SpecError(
            ["data.classes: none of these has an image to validate on; keep others"]
        )
    return DataSetFacts(
        train_size=sizes["train"],
        num_classes=len(kept),
        channels=3,
        image_size=None,
        manifest=manifest.digest,
    )


def _check_shares(data: DataSpec, given: Collection[str]) -> None:
    """Refuse to cut a part that the data brings."""
    mistakes = [
        f"data.{part}_share: the data has a {part} part of its own; leave it out"
        for part in ("val", "test")
        if part in given and data.differs(f"{part}_share")
    ]
    if mistakes:
        raise SpecError(mistakes)


def _check_classes(asked: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in asked:
        if name not in known:
            listed = ", ".join(repr(known_name) for known_name in known[:12])
            more = f" and {len(known) - 12} more" if len(known) > 12 else ""
            raise SpecError(
                [f"data.classes: there is no class {name!r}; there are {listed}{more}"]
            )


def _read_weights(spec: ExperimentSpec, find_run: FindRun) -> dict[str, FileFacts]:
    found = {}
    for source in list_values(spec, "model.weights", spec.keys.model.weights):
        if isinstance(source, str) and not is_torchvision_weights(source):
            path = _weights_file(spec, source, find_run)
            found[source] = FileFacts(path=str(path), sha256=_sha256(path))
    return found


def _weights_file(spec: ExperimentSpec, source: str, find_run: FindRun) -> Path:
    where = f"{spec.place_of('model.weights')}: model.weights"
    if not source.startswith("run:"):
        if not Path(source).is_file():
            raise SpecError([f"{where}: there is no file {source}"])
        return Path(source)
    try:
        run = find_run(source.removeprefix("run:"))
    except OrchestratorError as error:
        raise SpecError([f"{where}: {error}"]) from error
    folder = bring_run(run.search.folder / run.run.run_id.rpartition("/")[2])
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise SpecError([f"{where}: {run.run.run_id} has left no weights in {folder}"])


def _read_tensors(spec: ExperimentSpec) -> dict[str, FileFacts]:
    found = {}
    for rule in spec.keys.model.rules:
        file = rule.tensor.rpartition(":")[0]
        if not Path(file).is_file():
            where = f"{spec.place_of('model.rules')}: model.rules"
            raise SpecError([f"{where}: there is no file {file}"])
        found[file] = FileFacts(path=file, sha256=_sha256(Path(file)))
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
