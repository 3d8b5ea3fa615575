"""`orchestrator digest`: is what runs on a cluster what lies here?"""

import click

from orchestrator.cli import options
from orchestrator.submission.digest import digest_experiment


@click.command(name="digest")
@options.spec
def command(spec: str) -> None:
    r"""Print a digest of orchestrator's code and of SPEC, with what it extends and imports.

    `run --expect DIGEST` refuses to run anything else, as a cluster may have it.
    `run --cluster` does so by itself.

    \b
    Examples:
      d=$(orchestrator digest x.yaml)
      ray submit cluster.yaml orchestrator/__main__.py run x.yaml --expect $d
    """
    click.echo(digest_experiment(spec))
