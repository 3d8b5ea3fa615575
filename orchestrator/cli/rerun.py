"""`orchestrator rerun`: a recorded run once more; do its numbers come again?"""

from contextlib import closing

import click

from orchestrator.cli import options
from orchestrator.cli.interrupt import second_interrupt_ends_at_once
from orchestrator.cli.screen import Screen, exit_status

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
def command(run: str, check: bool, storage: str | None) -> int:
    r"""Train a recorded run again, from its record, under the next number of its name.

    \b
    Examples:
      orchestrator rerun digits-label-smoothing@best --check
      orchestrator rerun digits-label-smoothing/label_smoothing=0.1,seed=2
    """
    from orchestrator.recorded.rerun import Rerun, rerun

    with second_interrupt_ends_at_once(), closing(Screen()) as screen:
        found: Rerun = rerun(run, storage_path=storage, watch=screen)
    status = exit_status(found.search)
    if status or not check:
        return status
    click.echo()
    if found.is_same:
        click.echo(
            f"the same: weights (SHA-256 {found.first.weights_sha256[:16]}) and "
            f"{len(found.first.metrics)} metrics to the last bit"
        )
        return 0
    click.echo(f"different: {found.first.run_id} and {found.second.run_id}")
    first, second = (each.weights_sha256[:16] for each in (found.first, found.second))
    rows = [("weights SHA-256", first, second), *found.metrics, *found.receipt]
    for name, there, here in rows:
        click.echo(f"  {name}: {there} recorded, {here} now")
    if not found.receipt:
        click.echo("  the receipts name the same software, hardware and settings")
    return DIFFERENT
