"""The answer of a search on the terminal: `run` ends with it, `compare` repeats it."""

import shutil
import sys

import click

from orchestrator.comparison.curve import describe_curve
from orchestrator.comparison.report import describe_summary
from orchestrator.comparison.summary import SearchSummary

_WIDEST = 100
_WIDEST_CURVE = 80


def terminal_width() -> int:
    """Columns to write in: the terminal's, but no line longer than is read well."""
    return min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)


def show_answer(summary: SearchSummary) -> None:
    """Print the table, the sentence, what limits it, and the response curve."""
    width = terminal_width()
    if not any(row.scores for row in summary.rows):
        click.echo(summary.sentence)
        return
    click.echo(describe_summary(summary, width, color=sys.stdout.isatty()))
    if sum(bool(row.scores) for row in summary.rows) > 1:
        click.echo()
        click.echo(describe_curve(summary, min(width, _WIDEST_CURVE)))
