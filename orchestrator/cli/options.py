"""Arguments and options that several commands share."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from orchestrator.planning.numbers import Limits

Command = Callable[..., Any]

spec = click.argument("spec", metavar="SPEC", type=click.Path())
overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
storage = click.option(
    "--storage",
    metavar="FOLDER",
    help=(
        "Folder that holds all experiments, or an address such as s3://BUCKET/NAME; "
        "ORCHESTRATOR_STORAGE or ./runs by default."
    ),
)


fresh = click.option(
    "--fresh",
    is_flag=True,
    help="Train everything under a new number, also what is there already or was interrupted.",
)


wait = click.option(
    "--wait",
    "wait_min",
    metavar="MINUTES",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Wait so long for GPUs that other searches hold; by default they are not waited for.",
)


class LimitsCommand(click.Command):
    """Reads `--fast-dev-run SPEC` as it is meant: the number is optional, SPEC is none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a bare `--fast-dev-run` its number."""
        meant = []
        for argument, following in zip(args, [*args[1:], ""], strict=True):
            bare = argument == "--fast-dev-run" and not following.lstrip("-").isdecimal()
            meant.append("--fast-dev-run=1" if bare else argument)
        return super().parse_args(ctx, meant)


def limits(command: Command) -> Command:
    """The options that shorten a training, for debugging."""
    command = click.option(
        "--overfit-batches",
        metavar="N",
        type=click.IntRange(min=1),
        help="Train on the same N batches in every epoch: does their loss fall to nothing?",
    )(command)
    return click.option(
        "--fast-dev-run",
        metavar="N",
        type=click.IntRange(min=1),
        is_flag=False,
        flag_value=1,
        help="Train and validate N batches (1 by default) of every setting; record nothing.",
    )(command)


def word_options(flags: Mapping[str, bool], limits: Limits, *, wait_min: float) -> list[str]:
    """Flags, limits and patience that were given, to be typed again."""
    numbers = {
        "--wait": wait_min or None,
        "--fast-dev-run": limits.fast_dev_run,
        "--overfit-batches": limits.overfit_batches,
    }
    given = [f"{option}={value}" for option, value in numbers.items() if value is not None]
    return [*(flag for flag, is_given in flags.items() if is_given), *given]


def refuse(contradicts: bool, why: str) -> None:
    """Refuse options that contradict one another.

    Raises:
        UsageError: They do.
    """
    if contradicts:
        raise click.UsageError(why)


def cluster(command: Command) -> Command:
    """The options of a run on a cluster, here and on the cluster's head."""
    command = click.option("--submission", default="", hidden=True)(command)
    command = click.option(
        "--expect",
        metavar="DIGEST",
        help="Refuse to run anything but what `orchestrator digest SPEC` printed DIGEST of.",
    )(command)
    return click.option(
        "--cluster",
        metavar="FILE",
        help="Run it on the cluster that `ray up FILE` has made, and bring its records here.",
    )(command)
