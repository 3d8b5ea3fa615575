"""A plan as the text that `orchestrator plan` prints, and that opens every run."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.planning.cluster import word_count, word_devices
from orchestrator.planning.lanes import LanePlan, group_by_node
from orchestrator.planning.names import name_setting, word_value
from orchestrator.planning.run_plan import Numbers, RunPlan
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.planning.section_plans import DataPlan, TrainingPlan

_MOST_VALUES = 12
"""Settings named one by one before the rest is only counted."""


def describe_plan(
    plan: SearchPlan,
    *,
    network: Sequence[tuple[str, str]] = (),
    every_run: bool = False,
    width: int = 100,
) -> str:
    """What will happen, in a few aligned lines.

    Args:
        plan: The plan.
        network: Title and text of what torch says of it.
        every_run: List every run with its number, as `--run N` takes it.
        width: Columns of the terminal; paths may need more.
    """
    rows = [
        ("settings", _settings(plan)),
        ("seeds", _seeds(plan)),
        ("runs", _runs(plan)),
        ("lanes", _lanes(plan)),
        ("machine", f"{plan.cluster_text}; deterministic: {plan.lanes.deterministic}"),
        ("batch", _batch(plan)),
        ("training", _training(plan)),
        *network,
        ("judged by", _judge(plan)),
        ("results", str(plan.folder)),
        ("MLflow", plan.store_uri),
        *(("note", note) for note in _notes(plan)),
    ]
    lines = [
        f"{plan.name}#{plan.number}" + (f": {plan.description}" if plan.description else "")
    ]
    lines += [_wrap(title, text, width) for title, text in rows]
    if every_run:
        digits = len(str(len(plan.runs)))
        lines += ["", "runs"]
        lines += [
            f"  {index:>{digits}}  {run.run_id.rpartition('/')[2]}{_word_state(plan, run)}"
            for index, run in enumerate(plan.runs, start=1)
        ]
    return "\n".join(lines)


def _wrap(title: str, text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=f"  {title:<10} ",
        subsequent_indent=" " * 13,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _settings(plan: SearchPlan) -> str:
    if not plan.is_search:
        return "1 (nothing is searched)"
    keys = list(plan.settings[0])
    named = [
        (word_value(setting[keys[0]]) if len(keys) == 1 else name_setting(setting))
        + (" (baseline)" if setting == plan.baseline else "")
        for setting in plan.settings[:_MOST_VALUES]
    ]
    more = len(plan.settings) - len(named)
    separator = ", " if len(keys) == 1 else "; "
    text = separator.join([*named, *([f"and {more} more"] if more else [])])
    return (
        f"{len(plan.settings)}: {keys[0]} = {text}"
        if len(keys) == 1
        else f"{len(plan.settings)}: {text}"
    )


def _seeds(plan: SearchPlan) -> str:
    if len(plan.seeds) == 1:
        return f"1: {plan.seeds[0]}"
    return f"{len(plan.seeds)}: {plan.seeds[0]} to {plan.seeds[-1]}"


def _runs(plan: SearchPlan) -> str:
    runs = len(plan.runs)
    text = f"{runs}, {plan.lanes.lanes} at a time" if runs > 1 else "1"
    missing = len(plan.missing)
    goes_on = "; goes on where it was interrupted" if plan.continues and missing else ""
    if not plan.done:
        return f"{text}{goes_on}"
    left = f"{missing} to train, {plan.lanes.lanes} at a time" if missing else "none to train"
    done = f"{len(plan.done)} of them done ({', '.join(_word_done(plan))})"
    return f"{runs}, {done}; {left}{goes_on}"


def _word_state(plan: SearchPlan, run: RunPlan) -> str:
    """What of a run is there already, behind its name."""
    if run.run_id in plan.done:
        return f"  done in {'#'.join(plan.done[run.run_id].split('/')[:2])}"
    return "  goes on from one of fewer epochs" if run.place.extends else ""


def _word_done(plan: SearchPlan) -> list[str]:
    """In which searches, and how many: `30 in digits#1`."""
    labels = Counter("#".join(source.split("/")[:2]) for source in plan.done.values())
    return [f"{count} in {label}" for label, count in labels.items()]


def _lanes(plan: SearchPlan) -> str:
    lanes = plan.lanes
    workers = word_count(lanes.workers, "worker")
    if lanes.missing:
        workers = f"{lanes.workers} of {lanes.request.workers} workers"
    threads = word_count(lanes.cpus_per_worker, "thread")
    gpus = lanes.gpus_per_worker
    device = word_count(gpus, "GPU") if gpus else "CPU"
    return f"{lanes.lanes}, each {workers} with {threads} on {device}{_word_seats(lanes)}"


def _word_seats(lanes: LanePlan) -> str:
    """Which GPUs the lanes are given: `: GPU 0; GPU 2`."""
    if not lanes.seats:
        return ""
    words = []
    for lane in lanes.seats[:_MOST_VALUES]:
        names = {seat.node_id: f" of {seat.node}" for seat in lane if seat.node_id}
        words.append(
            " and ".join(
                f"{word_devices(devices)}{names.get(node, '')}"
                for node, devices in group_by_node(lane).items()
            )
        )
    more = len(lanes.seats) - len(words)
    return ": " + "; ".join([*words, *([f"and {more} more"] if more else [])])


def _batch(plan: SearchPlan) -> str:
    sizes = sorted({run.numbers.data.batch_size for run in plan.runs})
    if len(sizes) > 1:
        return f"{sizes[0]} to {sizes[-1]} images per step, by setting"
    low, extra = divmod(sizes[0], plan.lanes.workers)
    share = f"{low} or {low + 1}" if extra else str(low)
    return f"{sizes[0]} images per step, {share} per worker"


def _training(plan: SearchPlan) -> str:
    numbers = plan.runs[0].numbers
    optimizer, training = numbers.optimizer, numbers.training
    parts = [
        *_data_words(numbers.data),
        word_count(training.epochs, "epoch"),
        f"{optimizer.name}, {_rates(numbers)}, {numbers.schedule.name}",
        *_training_words(training),
    ]
    text = f"{numbers.model.architecture} on {', '.join(parts)}"
    return f"{text} (first setting)" if plan.is_search else text


def _data_words(data: DataPlan) -> Iterator[str]:
    yield (
        f"{data.dataset}, {data.train_size} images of {data.image_size}x{data.image_size}"
        f"{f' in {data.num_classes} classes' if data.classes else ''}"
    )
    if data.label_noise:
        yield f"{data.label_noise:.0%} of the labels redrawn"
    steps = [step.name for step in data.train_transforms]
    if steps:
        yield f"transforms {', '.join(steps)}"
    if data.normalize.by != "none":
        yield f"normalised by {_statistics(data)}"
    for name, alpha in (("MixUp", data.mixup), ("CutMix", data.cutmix)):
        if alpha:
            off = f", off from epoch {data.mix_off_epoch}" if data.mix_off_epoch else ""
            yield f"{name} {alpha:g}{off}"


def _statistics(data: DataPlan) -> str:
    if data.normalize.by == "measured":
        return "measured statistics"
    return "mean " + " ".join(f"{value:g}" for value in data.normalize.mean)


def _rates(numbers: Numbers) -> str:
    groups = numbers.fine_tune.groups
    if not groups:
        return f"lr {numbers.optimizer.lr:g}"
    if len(groups) > 2:
        return f"{len(groups)} rules of rates"
    return "; ".join(
        f"{group.name} {f'lr {group.lr:g}' if group.lr else 'frozen'}" for group in groups
    )


def _training_words(training: TrainingPlan) -> Iterator[str]:
    if training.precision != "float32":
        yield training.precision
    if not training.accumulate:
        yield "as few parts a step as fit"
    elif training.accumulate > 1:
        yield f"{training.accumulate} parts a step"
    if training.clip_norm is not None:
        yield f"gradient norm at most {training.clip_norm:g}"
    if training.ema is not None:
        yield f"weights averaged with decay {training.ema:g}"
    if training.compile:
        yield "compiled"


def _notes(plan: SearchPlan) -> list[str]:
    numbers = plan.runs[0].numbers
    notes = [*plan.notes, *([plan.caveat] if plan.caveat else [])]
    if numbers.overfit_batches:
        batches = _word_batches(numbers.overfit_batches)
        notes.insert(0, f"trains on the same {batches} in every epoch")
    if numbers.limit_batches:
        batches = _word_batches(numbers.limit_batches)
        notes.insert(0, f"a quick try: {batches} of one epoch, nothing is recorded")
    return notes


def _word_batches(number: int) -> str:
    return "1 batch" if number == 1 else f"{number} batches"


def _judge(plan: SearchPlan) -> str:
    direction = "higher" if plan.maximize else "lower"
    return f"{plan.metric}, {direction} is better, {plan.select} epoch"
