"""What `run` shows: the plan, one live view, the answer; plain lines without a terminal."""

import shutil
import sys
import time

import click
from rich.console import Console
from rich.live import Live

from orchestrator.cli.progress import ProgressView, plain_lines
from orchestrator.comparison.report import describe_curve, describe_summary
from orchestrator.comparison.summary import SearchSummary
from orchestrator.planning.describe import describe_plan
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.record import SearchRecord

_WIDEST = 100
_LOGS = "ray/logs"


class Screen:
    """Shows a search as it goes; an `api.Watch`."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._view = ProgressView()
        self._printed = 0
        self._began = time.monotonic()

    def planned(self, plan: SearchPlan) -> None:
        """Print the plan and open the live view."""
        click.echo(describe_plan(plan, width=_terminal_width()))
        click.echo()
        if self._console.is_terminal:
            self._live = Live(
                self._view, console=self._console, refresh_per_second=4, transient=True
            )
            self._live.start()
        else:
            click.echo("starting")

    def progressed(self, history: SearchHistory) -> None:
        """Bring the live view up to date, or print a line for every run that has ended."""
        self._view.history = history
        if self._live is None:
            lines = plain_lines(history)
            for line in lines[self._printed :]:
                click.echo(line)
            self._printed = len(lines)
            sys.stdout.flush()

    def answered(self, record: SearchRecord, summary: SearchSummary) -> None:
        """Print the table, the sentence, the curve and what failed."""
        self.close()
        width = _terminal_width()
        color = self._console.is_terminal and not self._console.no_color
        click.echo()
        if any(row.scores for row in summary.rows):
            click.echo(describe_summary(summary, width, color=color))
        else:
            click.echo(summary.sentence)
        if sum(bool(row.scores) for row in summary.rows) > 1:
            click.echo()
            click.echo(describe_curve(summary, min(width, 80)))
        for run in record.runs:
            if run.status == "failed":
                click.echo(f"failed: {run.run_id}: {run.error}")

    def ended(self, record: SearchRecord, *, kept: bool, mlflow_error: str) -> None:
        """Print where everything is."""
        self.close()
        if not kept:
            click.echo("a quick try: nothing was recorded")
            return
        click.echo()
        if (record.folder / "response.png").exists():
            click.echo(f"picture   {record.folder / 'response.png'}")
        click.echo(f"results   {record.folder}")
        if (record.folder / _LOGS).exists():
            click.echo(f"Ray logs  {record.folder / _LOGS}")
        if mlflow_error:
            click.echo(
                f"MLflow    not up to date ({mlflow_error}); nothing is lost, the next command "
                "writes it"
            )
        click.echo(f"MLflow    orchestrator ui {record.label}")
        click.echo(f"again     orchestrator compare {record.label}")
        click.echo(f"took      {time.monotonic() - self._began:.0f} s")

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _terminal_width() -> int:
    return min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
