"""`orchestrator rerun`: a recorded run once more; do its numbers come again?"""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.interrupt import stopped_by_signals
from orchestrator.cli.screen import Screen, exit_status

if TYPE_CHECKING:
    from orchestrator.recorded.rerun import Rerun

DIFFERENT = 6
"""Exit status where numbers that should be the same are not."""


@click.command(name="rerun")
@click.argument("run", metavar="RUN")
@click.option(
    "--check",
    is_flag=True,
    help="Compare weights and metrics with the recorded ones; exit 6 where they differ, with "
    "what else does.",
)
@options.storage
@options.wait
def command(run: str, check: bool, storage: str | None, wait_min: float) -> int:
    r"""Train a recorded run again, from its record; it is kept under the name NAME.rerun.

    \b
    Examples:
      orchestrator rerun digits-label-smoothing@best --check
      orchestrator rerun digits-label-smoothing/label_smoothing=0.1,seed=2
    """
    from orchestrator.recorded.rerun import rerun

    with closing(Screen()) as screen, stopped_by_signals(screen.word_going_on):
        found = rerun(run, storage_path=storage, watch=screen, wait_min=wait_min)
    status = exit_status(found.search)
    if status or not check:
        return status
    click.echo()
    for line in describe_rerun(found):
        click.echo(line)
    return 0 if found.is_same else DIFFERENT


def describe_rerun(found: "Rerun") -> Iterator[str]:
    """Yield what came again, or what did not and what else differs."""
    first, second = (each.weights_sha256[:16] for each in (found.first, found.second))
    if found.is_same:
        count = len(found.first.metrics)
        yield f"the same: weights (SHA-256 {first}) and {count} metrics to the last bit"
        return
    yield f"different: {found.first.run_id} and {found.second.run_id}"
    rows = [("weights SHA-256", first, second)] if first != second else []
    for name, there, here in [*rows, *found.metrics, *found.receipt]:
        yield f"  {name}: {there} recorded, {here} now"
    if not found.receipt:
        yield "  the receipts name the same software, hardware and settings"
