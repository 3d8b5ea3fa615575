"""ExperimentSpec + Cluster -> SearchPlan: settings, seeds, lanes, folders.

Whatever a spec leaves open is decided here, once, so that a plan has no defaults left.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from orchestrator.errors import SpecError
from orchestrator.planning.checkpoints import resolve_checkpoint
from orchestrator.planning.checks import check_settings
from orchestrator.planning.cluster import Cluster, word_count
from orchestrator.planning.data_numbers import choose_cache
from orchestrator.planning.facts import Inputs
from orchestrator.planning.fingerprint import environment_of, fingerprint_run
from orchestrator.planning.lanes import LanePlan, LaneRequest
from orchestrator.planning.names import name_runs
from orchestrator.planning.notes import list_notes
from orchestrator.planning.numbers import Limits, identify_network, resolve_numbers
from orchestrator.planning.placement import place_lanes
from orchestrator.planning.refusals import find_held
from orchestrator.planning.run_plan import Numbers, Place, RunPlan
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.planning.settings import Setting, choose_baseline, enumerate_settings
from orchestrator.specs.experiment import ExperimentSpec, Keys
from orchestrator.specs.search import METRICS, confounded_reason

SOURCES: Final = "source"
"""Name of the folder of a search that holds the user's own code."""


def resolve_search(
    spec: ExperimentSpec,
    cluster: Cluster,
    *,
    storage: Path,
    number: int,
    inputs: Inputs,
    limits: Limits = Limits(),
) -> SearchPlan:
    """Decide everything that a search will do.

    Args:
        spec: What was asked.
        cluster: The machines at hand.
        storage: Folder that holds all experiments, absolute.
        number: The search's number.
        inputs: What was read of files before.
        limits: Shortcuts for debugging.

    Raises:
        SpecError: Some setting is refused, or its last batch is too small for its workers.
        InfeasibleError: The machines are too few.
    """
    keys = spec.keys
    settings, seeds = enumerate_settings(spec), _choose_seeds(keys, limits)
    pairs = [(setting, seed) for setting in settings for seed in seeds]
    lanes = _place(keys, cluster, runs=len(pairs))
    check_settings(spec, settings, inputs.data)
    folder = storage / keys.name / str(number)
    runs = []
    for name, (setting, seed) in zip(name_runs(pairs), pairs, strict=True):
        numbers = resolve_numbers(
            spec, setting, seed=seed, lanes=lanes, limits=limits, inputs=inputs
        )
        _check_device(spec, numbers)
        place = _resolve_place(spec.at(setting), inputs, folder=folder / name)
        place = replace(place, checkpoint=resolve_checkpoint(keys.checkpoint, numbers))
        run_id = f"{keys.name}/{number}/{name}"
        runs.append(_resolve_run(keys, numbers, setting, run_id=run_id, place=place))
    return _assemble(spec, folder, cluster, lanes, _describe_networks_once(runs))


def _assemble(
    spec: ExperimentSpec,
    folder: Path,
    cluster: Cluster,
    lanes: LanePlan,
    runs: tuple[RunPlan, ...],
) -> SearchPlan:
    keys, metric = spec.keys, spec.keys.search.metric
    seeds = tuple(dict.fromkeys(run.numbers.seed for run in runs))
    settings = tuple(run.setting for run in runs[:: len(seeds)])
    notes = list_notes(spec, lanes, settings=settings, runs=runs)
    return SearchPlan(
        name=keys.name,
        number=int(folder.name),
        description=keys.description,
        folder=folder,
        store_uri=keys.tracking.uri or default_store(folder),
        metric=metric,
        maximize=METRICS[metric].maximize,
        select=keys.training.select,
        settings=settings,
        baseline=choose_baseline(spec),
        seeds=seeds,
        runs=runs,
        lanes=lanes,
        cluster_text=describe_cluster(cluster),
        caveat=confounded_reason(spec.spaces, metric),
        notes=(*spec.notes, *notes, *find_held(cluster, lanes)),
        spec_text=spec.text,
        environment=environment_of(*(run.numbers for run in runs)),
        max_concurrent=keys.search.max_concurrent,
    )


def _describe_networks_once(runs: list[RunPlan]) -> tuple[RunPlan, ...]:
    """Let the first run of each network record it layer by layer."""
    described: set[str] = set()
    marked = []
    for run in runs:
        network = identify_network(run.numbers)
        is_new = network not in described
        marked.append(replace(run, place=replace(run.place, describes_network=is_new)))
        described.add(network)
    return tuple(marked)


def _check_device(spec: ExperimentSpec, numbers: Numbers) -> None:
    """Refuse what the kind of device cannot do."""
    on_cpus = numbers.device == "cpu"
    for key, asked, advice in (
        ("precision", numbers.training.precision == "float16", "use bfloat16"),
        ("cudnn_benchmark", numbers.training.cudnn_benchmark, "leave it out"),
    ):
        if on_cpus and asked:
            where = spec.place_of(f"training.{key}")
            text = f"needs a GPU, this run is on CPUs; {advice}"
            raise SpecError([f"{where}: training.{key}: {text}"])


def _choose_seeds(keys: Keys, limits: Limits) -> tuple[int, ...]:
    # A quick try asks whether a setting trains at all: one seed will tell.
    count = 1 if limits.fast_dev_run else keys.search.seeds
    return tuple(range(keys.seed, keys.seed + count))


def _resolve_run(
    keys: Keys, numbers: Numbers, setting: Setting, *, run_id: str, place: Place
) -> RunPlan:
    select, metric = keys.training.select, keys.search.metric
    maximize = METRICS[metric].maximize
    digests = fingerprint_run(
        numbers,
        select=select,
        metric=metric,
        maximize=maximize,
        data_root=place.data_root,
    )
    # A quick try is no result that another search might take for its own.
    fingerprint, lineage = ("", "") if numbers.limit_batches else digests
    return RunPlan(
        run_id=run_id,
        setting=setting,
        select=select,
        metric=metric,
        maximize=maximize,
        numbers=numbers,
        place=place,
        fingerprint=fingerprint,
        lineage=lineage,
    )


def _resolve_place(keys: Keys, inputs: Inputs, *, folder: Path) -> Place:
    weights = inputs.weights.get(keys.model.weights or "")
    return Place(
        folder=str(folder),
        loader_workers=keys.data.loader_workers,
        data_root=keys.data.root or "",
        download=keys.data.download,
        cache=choose_cache(keys.data),
        weights=weights.path if weights else "",
        sources=str(folder.parent / SOURCES) if inputs.sources else "",
        elastic=keys.resources.min_workers is not None,
    )


def _place(keys: Keys, cluster: Cluster, *, runs: int) -> LanePlan:
    resources = keys.resources
    gpus = resources.gpus_per_worker
    if gpus is None:
        gpus = 1 if cluster.gpus else 0
    # Whole GPUs are counted.
    gpus = int(gpus) if gpus == int(gpus) else gpus
    deterministic = keys.deterministic
    if deterministic is None:
        # On GPUs determinism costs speed and refuses operators; on CPUs next to nothing.
        deterministic = gpus == 0 or cluster.rehearses
    asked = LaneRequest(
        workers=resources.num_workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=gpus,
        deterministic=_DETERMINISTIC[deterministic],
        placement=resources.placement,
        visible=resources.visible_devices,
        min_workers=resources.min_workers,
    )
    return place_lanes(cluster, asked, most=min(runs, keys.search.max_concurrent or runs))


_DETERMINISTIC: Final[dict[bool | str, Literal["true", "warn", "false"]]] = {
    True: "true",
    False: "false",
    "warn": "warn",
}


def default_store(folder: Path) -> str:
    """MLflow's store beside the experiments, for a search in this folder."""
    return f"sqlite:///{folder.parents[1] / 'mlflow.db'}"


def describe_cluster(cluster: Cluster) -> str:
    """Which machines a plan is made for, in words."""
    if cluster.address:
        machines = f"Ray at {cluster.address}: {cluster.word_nodes()}"
    else:
        machines = "this machine"
    gpus = word_count(cluster.gpus, "GPU") if cluster.gpus else cluster.lost_gpus or "no GPU"
    if cluster.rehearses and cluster.gpus:
        gpus += " (a rehearsal: computed on CPUs)"
    return f"{machines}, {word_count(cluster.cpus, 'CPU')}, {gpus}"
