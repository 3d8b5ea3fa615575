"""`orchestrator schema`: what editors complete and underline by."""

import json

import click

from orchestrator.specs.schema import json_schema


@click.command(name="schema")
def command() -> None:
    r"""Print the JSON Schema of experiment files, for editors.

    \b
    Example:
      orchestrator schema > experiments/experiment.schema.json
      # first line of an experiment file:
      # yaml-language-server: $schema=experiment.schema.json
    """
    click.echo(json.dumps(json_schema(), indent=2))
