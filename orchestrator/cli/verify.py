"""`orchestrator verify`: are the promises about numbers kept, on one's own experiment?"""

import time

import click

from orchestrator.cli import options
from orchestrator.cli.rerun import DIFFERENT

_WIDTH = 48


@click.command(name="verify")
@click.argument("spec", metavar="SPEC|RUN", type=click.Path())
@options.overrides
@options.storage
def command(spec: str, overrides: tuple[str, ...], storage: str | None) -> int:
    r"""Train a few steps of SPEC, or of a RUN, in ways that must give the same numbers.

    Every tensor is compared after every step: again in another process; interrupted and
    resumed; with another number of loader processes; on a warm lane; with --in-process; and,
    within rounding, with two workers. Exit status 6 where a promise is broken. Nothing is
    recorded.

    \b
    Examples:
      orchestrator verify experiments/digits-label-smoothing.yaml
      orchestrator verify digits-label-smoothing@best
    """
    from orchestrator.verifying import verification

    began, broken = time.monotonic(), False
    with verification(spec, overrides, storage_path=storage) as (title, checks):
        click.echo(f"{title}: these pairs must train the same numbers")
        for name, check in checks.items():
            click.echo(f"  {name:<{_WIDTH}} ", nl=False)
            found = check()
            broken = broken or found.verdict == "broken"
            word = click.style(found.verdict, fg={"broken": "red"}.get(found.verdict))
            click.echo(f"{word}   {found.detail}")
    click.echo(f"took {time.monotonic() - began:.0f} s")
    return DIFFERENT if broken else 0
