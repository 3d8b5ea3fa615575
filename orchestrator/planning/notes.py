"""What a plan tells its author beside the numbers: none of it is a mistake."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.planning.cluster import word_count
from orchestrator.planning.lanes import LanePlan
from orchestrator.planning.rates import lr_scale
from orchestrator.planning.run_plan import RunPlan
from orchestrator.specs.experiment import ExperimentSpec, Keys
from orchestrator.specs.search import Scalar


def list_notes(
    spec: ExperimentSpec,
    lanes: LanePlan,
    *,
    settings: Sequence[Mapping[str, Scalar]],
    runs: Sequence[RunPlan],
) -> list[str]:
    """What a plan tells its author beside the numbers.

    Args:
        spec: What was asked.
        lanes: What the runs take of the machines.
        settings: The settings that it means.
        runs: Those of all settings and seeds.
    """
    keys = spec.keys
    return [
        *_baseline_notes(keys, settings=len(settings)),
        *_scale_notes(keys),
        *_batch_notes(runs),
        *_technique_notes([spec.at(setting) for setting in settings], lanes),
        *_idle_notes(keys, lanes, runs=len(runs)),
    ]


def _scale_notes(keys: Keys) -> Iterator[str]:
    optimizer, size = keys.optimizer, keys.data.batch_size
    if optimizer.scale_lr != "none":
        factor = lr_scale(optimizer, batch_size=size)
        yield (
            f"learning rates are multiplied by {factor:g}: batches of {size} images, meant for "
            f"{optimizer.reference_batch_size} ({optimizer.scale_lr})"
        )


def _batch_notes(runs: Sequence[RunPlan]) -> Iterator[str]:
    data = max((run.numbers.data for run in runs), key=lambda data: data.batch_size)
    if data.batch_size > data.train_size:
        yield (
            f"a batch holds all {data.train_size:,} training images: data.batch_size is "
            f"{data.batch_size:,}"
        )


def _technique_notes(settings: Sequence[Keys], lanes: LanePlan) -> Iterator[str]:
    """Say what a technique does that one may not expect."""
    first = settings[0]
    epochs = max(keys.training.epochs for keys in settings)
    stops = [keys.training.early_stopping for keys in settings]
    patience = min((stop.patience for stop in stops if stop), default=0)
    stopping = first.training.early_stopping
    # The first epoch is always the best so far.
    if patience >= max(1, epochs - 1):
        yield (
            f"training.early_stopping can stop no run: patience is {patience} epochs, "
            f"training.epochs {epochs}"
        )
    elif stopping is not None:
        cut = "" if first.schedule.name == "constant" else ", which cuts the schedule short"
        yield (
            f"stops after {word_count(patience, 'epoch')} without a better "
            f"{stopping.metric}{cut}"
        )
    steps = [keys.schedule.step_epochs for keys in settings if keys.schedule.name == "step"]
    step = min((count for count in steps if count), default=0)
    if step >= epochs:
        yield (
            f"the learning rate never falls: schedule.step_epochs is {step}, "
            f"training.epochs {epochs}"
        )
    workers = lanes.request.workers
    if any(keys.model.sync_batch_norm for keys in settings) and workers == 1:
        yield "model.sync_batch_norm changes nothing with one worker"
    if lanes.min_workers:
        yield (
            f"elastic: a run goes on with {lanes.min_workers} of {workers} workers where a "
            "machine is lost; one that did is marked, and its numbers do not come out again"
        )
    if lanes.missing:
        yield (
            f"begins with {lanes.workers} of {workers} workers; on a cluster a run has all of "
            "them once there is room"
        )


def _baseline_notes(keys: Keys, *, settings: int) -> list[str]:
    drawn = keys.search.num_trials
    if drawn is None or settings == drawn:
        return []
    return [
        f"the baseline is none of the {word_count(drawn, 'setting')} drawn; it comes on top"
    ]


def _idle_notes(keys: Keys, lanes: LanePlan, *, runs: int) -> list[str]:
    count = lanes.idle_gpus
    # Who names GPUs has chosen to leave out the others.
    if not count or lanes.visible is not None:
        return []
    stay = "1 GPU stays idle" if count == 1 else f"{count} GPUs stay idle"
    if not lanes.gpus_per_worker:
        return [f"{stay}: resources.gpus_per_worker is 0"]
    if lanes.lanes == runs:
        key = "resources.num_workers, for several GPUs per run,"
    elif lanes.lanes == keys.search.max_concurrent:
        key = "a higher search.max_concurrent"
    else:
        key = "another resources.num_workers or resources.cpus_per_worker"
    return [f"{stay}; {key} would use {'it' if count == 1 else 'them'}"]
