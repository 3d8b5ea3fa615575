"""`orchestrator summary`: the network of an experiment, layer by layer."""

import json
from dataclasses import asdict

import click

from orchestrator import api
from orchestrator.cli import options


@click.command(name="summary")
@options.spec
@options.overrides
@click.option("--json", "as_json", is_flag=True, help="As JSON, every layer of it.")
def command(spec: str, overrides: tuple[str, ...], as_json: bool) -> None:
    r"""Show the network of SPEC: layers, parameters, multiply-adds, and what learns how fast.

    Nothing is trained and no weight is read. Where a search has several networks, the first
    setting's is shown.

    \b
    Examples:
      orchestrator summary experiments/digits-label-smoothing.yaml
      orchestrator summary experiments/digits-label-smoothing.yaml model.architecture=resnet18
    """
    preview = api.preview(spec, overrides)[1][0]
    if as_json:
        click.echo(json.dumps(asdict(preview), indent=2))
        return
    click.echo(preview.architecture)
    click.echo(preview.summary.describe())
    click.echo()
    click.echo(preview.table())
