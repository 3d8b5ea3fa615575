"""`orchestrator validate`: is this file an experiment?"""

import click

from orchestrator.cli import options
from orchestrator.planning.checks import check_settings
from orchestrator.planning.settings import enumerate_settings
from orchestrator.specs.load import load_spec


@click.command(name="validate")
@options.spec
@options.overrides
def command(spec: str, overrides: tuple[str, ...]) -> None:
    r"""Check an experiment file and list every mistake in it; starts nothing.

    \b
    Example:
      orchestrator validate experiments/digits-label-smoothing.yaml training.epochs=3
    """
    loaded = load_spec(spec, overrides)
    check_settings(loaded, enumerate_settings(loaded))
    for note in loaded.notes:
        click.echo(f"note: {note}")
    searched = ", ".join(loaded.spaces)
    click.echo(
        f"{spec}: ok, {loaded.keys.name}" + (f", searches {searched}" if searched else "")
    )
