"""What must hold between the sections of an experiment."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.specs.section import Finding

if TYPE_CHECKING:
    from orchestrator.specs.experiment import Keys


def compare_sections(keys: "Keys") -> Iterator[Finding]:
    """Yield what one section says against another."""
    yield from _check_epochs(keys)
    yield from _check_rates(keys)
    if keys.training.cudnn_benchmark and keys.deterministic is not False:
        yield (
            "training.cudnn_benchmark",
            "picks algorithms by the clock; set deterministic: false beside it",
        )


def _check_epochs(keys: "Keys") -> Iterator[Finding]:
    epochs = keys.training.epochs
    warmup = keys.schedule.warmup_epochs
    if warmup >= epochs:
        text = f"must be less than training.epochs, {epochs} (got {warmup:g})"
        yield "schedule.warmup_epochs", text
    for key, value in _named_epochs(keys):
        if value > epochs:
            yield key, f"must be at most training.epochs, {epochs} (got {value})"
    if keys.schedule.milestones and keys.schedule.milestones[-1] >= epochs:
        text = f"must be less than training.epochs, {epochs}"
        yield "schedule.milestones", f"{text} (got {list(keys.schedule.milestones)})"
    if keys.fine_tune and keys.fine_tune.linear_probe_epochs >= epochs:
        text = f"must be less than training.epochs, {epochs}"
        probe = keys.fine_tune.linear_probe_epochs
        yield "fine_tune.linear_probe_epochs", f"{text} (got {probe})"


def _named_epochs(keys: "Keys") -> Iterator[tuple[str, int]]:
    """Yield the epochs in which something is to begin."""
    if keys.data.mix_off_epoch is not None:
        yield "data.mix_off_epoch", keys.data.mix_off_epoch
    if keys.fine_tune and keys.fine_tune.unfreeze:
        for index, rule in enumerate(keys.fine_tune.unfreeze):
            yield f"fine_tune.unfreeze.{index}.epoch", rule.epoch


def _check_rates(keys: "Keys") -> Iterator[Finding]:
    """Refuse a learning rate that nothing would learn with."""
    tune, lr = keys.fine_tune, keys.optimizer.lr
    if tune is None:
        return
    rates_are_given = tune.backbone_lr is not None or (
        tune.groups is not None
        and all(rule.lr is not None or rule.freeze for rule in tune.groups)
    )
    if rates_are_given and lr is not None:
        yield (
            "optimizer.lr",
            f"fine_tune sets the learning rates; leave one of the two out (got {lr:g})",
        )
