"""`orchestrator resume`: go on with a search that was interrupted."""

from contextlib import closing

import click

from orchestrator import api
from orchestrator.cli import options
from orchestrator.cli.hangup import outlives_its_connection
from orchestrator.cli.interrupt import stopped_by_signals
from orchestrator.cli.screen import Screen, exit_status


@click.command(name="resume")
@click.argument("name", metavar="NAME[#NUMBER]")
@options.storage
@options.wait
def command(name: str, storage: str | None, wait_min: float) -> int:
    r"""Go on with a recorded search: with what was interrupted, has failed, or is missing.

    Finished runs are kept; interrupted ones go on from their last checkpoints, with the numbers
    that they would have had. The experiment file is not needed: settings, seeds and the user's
    own code are those that were recorded.

    \b
    Example:
      orchestrator resume digits-label-smoothing
    """
    with (
        closing(Screen()) as screen,
        stopped_by_signals(screen.word_going_on),
        outlives_its_connection(),
    ):
        record = api.resume(name, storage_path=storage, watch=screen, wait_min=wait_min)
    return exit_status(record)
