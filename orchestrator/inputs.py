"""What must be read before a plan can be made: images, weights, the user's own code.

A plan is made of values alone; whoever starts one looks at the files first. What needs torch is
loaded only where the spec asks for it: digits and synthetic images cost nothing here.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import OrchestratorError, SpecError, nothing_is_trained
from orchestrator.planning.checks import located
from orchestrator.planning.facts import DataSetFacts, FileFacts, Inputs, known_facts
from orchestrator.planning.manifest import scan_image_folder, split_manifest
from orchestrator.planning.table import scan_table
from orchestrator.specs.data_section import DataSpec
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.model_section import is_torchvision_weights
from orchestrator.specs.search import corners
from orchestrator.specs.section import OWN_CODE
from orchestrator.specs.transforms import parse_steps
from orchestrator.tracking.lookup import FoundRun

FindRun = Callable[[str], FoundRun]
_PACKAGE = Path(__file__).parent
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
        SpecError: A file, a run, a class or a module is not there, or a data set cannot be
            read; each with its place.
    """
    sources = _find_sources(spec)
    root = str(_import_root(spec)) if sources else ""
    with located(spec), nothing_is_trained():
        data = _read_data(spec.keys.data, root)
    return Surroundings(
        inputs=Inputs(
            data=data,
            weights=_read_weights(spec, find_run),
            tensors=_read_tensors(spec),
            sources=_digest(sources),
        ),
        sources=sources,
        root=root,
    )


def copy_sources(sources: Mapping[str, Path], folder: Path) -> None:
    """Copy the user's own files to where the workers import them from."""
    for name, path in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _read_data(data: DataSpec, root: str) -> DataSetFacts:
    known = known_facts(data)
    if known is not None:
        return known
    if data.dataset not in ("image_folder", "table"):
        from orchestrator.training.data.describe import describe_data_set

        return DataSetFacts(**describe_data_set(data.model_dump(), sources=root))
    assert data.root is not None
    scan = scan_table if data.dataset == "table" else scan_image_folder
    manifest = scan(data.root)
    positions = split_manifest(manifest, data.val_share, data.test_share)["train"]
    labels = [manifest.entries[position].label for position in positions]
    kept = list(range(len(manifest.classes)))
    if data.classes is not None:
        _check_classes(data.classes, manifest.classes)
        kept = [manifest.classes.index(name) for name in data.classes]
    return DataSetFacts(
        train_size=sum(label in set(kept) for label in labels),
        num_classes=len(kept),
        channels=3,
        image_size=None,
        manifest=manifest.digest,
    )


def _check_classes(asked: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in asked:
        if name not in known:
            listed = ", ".join(repr(known_name) for known_name in known[:12])
            more = f" and {len(known) - 12} more" if len(known) > 12 else ""
            raise SpecError(
                [f"data.classes: there is no class {name!r}; there are {listed}{more}"]
            )


def _values(spec: ExperimentSpec, key: str, value: object) -> list[object]:
    """Every value that a key takes in a search, or its one value."""
    return list(corners(spec.spaces[key])) if key in spec.spaces else [value]


def _read_weights(spec: ExperimentSpec, find_run: FindRun) -> dict[str, FileFacts]:
    found = {}
    for source in _values(spec, "model.weights", spec.keys.model.weights):
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
    folder = run.search.folder / run.run.run_id.rpartition("/")[2]
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


def _references(spec: ExperimentSpec) -> Iterator[tuple[str, str]]:
    """The user's own callables: key, and `module:callable`."""
    keys = spec.keys
    for key, value in (
        ("data.dataset", keys.data.dataset),
        ("model.architecture", keys.model.architecture),
        ("loss.name", keys.loss.name),
        ("data.transforms", keys.data.transforms),
    ):
        for name in _values(spec, key, value):
            if isinstance(name, str) and OWN_CODE.fullmatch(name):
                yield key, name
    for key, steps in (
        ("data.transforms", keys.data.transforms),
        ("data.eval_transforms", keys.data.eval_transforms),
    ):
        if isinstance(steps, list):
            for name, _ in parse_steps(steps):
                if OWN_CODE.fullmatch(name):
                    yield key, name


def _import_root(spec: ExperimentSpec) -> Path:
    """Where own modules are looked for: beside the file, else in the current folder."""
    beside = Path(spec.source).absolute().parent
    for _, reference in _references(spec):
        top = reference.partition(":")[0].partition(".")[0]
        for folder in (beside, Path.cwd()):
            if (folder / f"{top}.py").is_file() or (folder / top).is_dir():
                return folder
    return beside


def _find_sources(spec: ExperimentSpec) -> dict[str, Path]:
    """Import the user's own code; its files, and those of their own that they import."""
    references = list(_references(spec))
    if not references:
        return {}
    from orchestrator.training.own_code import load_callable

    root = _import_root(spec)
    for key, reference in references:
        try:
            load_callable(reference, key=key, sources=str(root))
        except OrchestratorError as error:
            raise SpecError([f"{spec.place_of(key)}: {error}"]) from error
    found = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py"):
            path = Path(file)
            installed = "site-packages" in path.parts or path.is_relative_to(_PACKAGE)
            if path.is_relative_to(root) and not installed:
                found[path.relative_to(root).as_posix()] = path
    return {name: found[name] for name in sorted(found)}


def _digest(sources: Mapping[str, Path]) -> str:
    """SHA-256 over the names and contents of the user's own files; empty for none."""
    if not sources:
        return ""
    digest = hashlib.sha256()
    for name, path in sources.items():
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
