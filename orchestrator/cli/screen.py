"""What `run` shows: the plan, one live view, the answer; plain lines without a terminal."""

import errno
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from orchestrator.cli.answer import show_answer, terminal_width
from orchestrator.cli.hangup import is_on_terminal, write_to
from orchestrator.cli.program import word_command
from orchestrator.cli.progress import ProgressView, plain_lines
from orchestrator.comparison.summary import SearchSummary
from orchestrator.driving import PICTURE
from orchestrator.errors import TrainingError
from orchestrator.launch.run import LOGS, RAY_FOLDER
from orchestrator.planning.describe import describe_plan
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.addresses import is_address
from orchestrator.tracking.history import SearchHistory
from orchestrator.tracking.mirror import address_of, word_place
from orchestrator.tracking.record import SearchRecord
from orchestrator.tracking.storage import VARIABLE, find_storage
from orchestrator.watch import Watch


@contextmanager
def _unread_if_closed() -> Iterator[None]:
    """Go on in silence where the reader of a pipe, such as `head`, has left: runs go on too."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # The terminal went with its connection, and the next call notices it.
        if error.errno != errno.EIO:
            raise


SOME_FAILED: Final = 5
_TELL_EVERY_S: Final = 60.0
OUTPUT: Final = "output.txt"
"""File in a search's folder: what would have been shown, had the connection not dropped."""


def exit_status(record: SearchRecord) -> int:
    """0, or 5 where some runs failed.

    Raises:
        TrainingError: All of them did.
    """
    failed = [run for run in record.runs if run.status == "failed"]
    if failed and not any(run.status == "finished" for run in record.runs):
        first = failed[0]
        which = "every run failed; the first, " if len(record.runs) > 1 else "the run failed: "
        raise TrainingError(f"{which}{first.run_id}: {first.error}")
    return SOME_FAILED if failed else 0


class Screen(Watch):
    """Shows a search as it goes; a `Watch`."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._view = ProgressView()
        self._printed = 0
        self._plan: SearchPlan | None = None
        self._on_terminal = is_on_terminal()
        self._began = time.monotonic()
        self._told = -_TELL_EVERY_S
        """When it was said last what is waited for."""

    @_unread_if_closed()
    def planned(self, plan: SearchPlan, network: Sequence[tuple[str, str]]) -> None:
        """Print the plan and open the live view."""
        self._plan = plan
        click.echo(describe_plan(plan, network=network, width=terminal_width()))
        click.echo()
        if self._console.is_terminal and plan.missing:
            self._live = Live(
                self._view, console=self._console, refresh_per_second=4, transient=True
            )
            self._live.start()
        else:
            click.echo("starting" if plan.missing else "nothing to train")

    @_unread_if_closed()
    def progressed(self, history: SearchHistory) -> None:
        """Bring the live view up to date, or print a line for every run that has ended."""
        self._view.history = history
        self._notice_hangup()
        if self._live is None:
            lines = plain_lines(history)
            for line in lines[self._printed :]:
                click.echo(line)
            self._printed = len(lines)
            sys.stdout.flush()

    @_unread_if_closed()
    def lost(self, cause: str) -> None:
        """Print why Ray is started again."""
        self._notice_hangup()
        self._view.begin()
        self._console.print(f"{cause}; starting its lanes again", highlight=False, markup=False)

    @_unread_if_closed()
    def waiting(self, what: str) -> None:
        """Show it in the live view, or print a line once a minute."""
        self._notice_hangup()
        if self._live is not None:
            self._view.wait_for(what)
        elif time.monotonic() - self._told > _TELL_EVERY_S:
            self._told = time.monotonic()
            click.echo(what)
            sys.stdout.flush()

    @_unread_if_closed()
    def answered(self, record: SearchRecord, summary: SearchSummary) -> None:
        """Print the table, the sentence, the curve and what failed."""
        self._notice_hangup()
        self.close()
        click.echo()
        show_answer(summary)
        for run in record.runs:
            for note in dict.fromkeys(run.notes):
                click.echo(f"note: {run.run_id}: {note}")
        failed = [run for run in record.runs if run.status == "failed"]
        if len(failed) < len(record.runs):
            # Where all have failed, the command itself ends with the cause.
            for run in failed:
                click.echo(f"failed: {run.run_id}: {run.error}")
        for run in failed[:1]:
            if run.traceback:
                click.echo(f"the whole traceback is in {run.traceback}")

    @_unread_if_closed()
    def ended(self, record: SearchRecord, *, kept: bool, mlflow_error: str) -> None:
        """Print where everything is."""
        self._notice_hangup()
        self.close()
        if not kept:
            click.echo("a quick try: nothing was recorded")
            return
        click.echo()
        if (record.folder / PICTURE).exists():
            click.echo(f"picture   {record.folder / PICTURE}")
        click.echo(f"results   {word_place(record.folder)}")
        if (record.folder / RAY_FOLDER / LOGS).exists():
            click.echo(f"Ray logs  {record.folder / RAY_FOLDER / LOGS}")
        if mlflow_error:
            click.echo(
                f"MLflow    not up to date ({mlflow_error}); nothing is lost, the next command "
                "writes it"
            )
        command, where = word_command(), _word_storage(record.folder)
        click.echo(f"MLflow    {command} ui {record.label}{where}")
        if any(run.status != "finished" for run in record.runs):
            click.echo(f"go on     {command} resume {record.label}{where}")
        click.echo(f"again     {command} compare {record.label}{where}")
        click.echo(f"took      {time.monotonic() - self._began:.0f} s")

    def word_going_on(self) -> str:
        """The command that goes on after an end; empty where nothing that stays has begun."""
        plan = self._plan
        if plan is None or plan.runs[0].numbers.limit_batches is not None:
            return ""
        label, where = f"{plan.name}#{plan.number}", _word_storage(plan.folder)
        return f"{word_command()} resume {label}{where}"

    def find_folder(self) -> Path | None:
        """The search's folder; None while there is none."""
        return None if self._plan is None else self._plan.folder

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _notice_hangup(self) -> None:
        """Once there is no terminal any more, write plain lines into the search's folder."""
        if self._on_terminal and self._plan is not None and not is_on_terminal():
            self._on_terminal = False
            write_to(self._plan.folder / OUTPUT)
            self.close()


def _word_storage(search: Path) -> str:
    """The option by which other commands find the record; empty where they need none."""
    folder = search.parents[1]
    here = address_of(folder) or str(folder)
    usual = os.environ.get(VARIABLE) or ""
    usual = usual.rstrip("/") if is_address(usual) else str(find_storage())
    return "" if here == usual else f" --storage {shlex.quote(here)}"
