"""`orchestrator compare`: what a recorded search means."""

import json

import click

from orchestrator import api
from orchestrator.cli import options
from orchestrator.cli.answer import show_answer
from orchestrator.comparison.export import summary_to_csv, summary_to_json


@click.command(name="compare")
@click.argument("name", metavar="NAME[#NUMBER]")
@options.storage
@click.option(
    "--csv", "form", flag_value="csv", help="Print one line per setting, for a spreadsheet."
)
@click.option("--json", "form", flag_value="json", help="Print everything, for a program.")
def command(name: str, storage: str | None, form: str | None) -> None:
    r"""Print the table and the answer of a search, from its records.

    \b
    Examples:
      orchestrator compare digits-label-smoothing        # the latest search of that name
      orchestrator compare digits-label-smoothing#3 --csv
    """
    summary = api.compare(name, storage_path=storage)
    if form == "csv":
        click.echo(summary_to_csv(summary), nl=False)
    elif form == "json":
        click.echo(json.dumps(summary_to_json(summary), indent=2))
    else:
        show_answer(summary)
