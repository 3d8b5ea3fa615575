"""Arguments and options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]

spec = click.argument("spec", metavar="SPEC", type=click.Path())
overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
storage = click.option(
    "--storage",
    metavar="FOLDER",
    help="Folder that holds all experiments; ORCHESTRATOR_STORAGE or ./runs by default.",
)


def limits(command: Command) -> Command:
    """The options that shorten a training, for debugging."""
    command = click.option(
        "--overfit-batches",
        metavar="N",
        type=click.IntRange(min=1),
        help="Train on the same N batches in every epoch; a sound network fits them all.",
    )(command)
    return click.option(
        "--fast-dev-run",
        metavar="N",
        type=click.IntRange(min=1),
        is_flag=False,
        flag_value=1,
        help="Train and validate N batches (1 by default) of every setting; record nothing.",
    )(command)
