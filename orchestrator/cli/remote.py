"""`run --cluster`, and the other end of it: the `run` that it starts on the cluster's head."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.cli.program import word_command
from orchestrator.errors import INTERRUPTED, OrchestratorError
from orchestrator.launch.environment import is_head
from orchestrator.submission.cluster_file import read_cluster_file
from orchestrator.submission.digest import check_digest, digest_experiment
from orchestrator.submission.submit import Submission
from orchestrator.submission.word import leave_word
from orchestrator.tracking.storage import find_storage


def run_on_cluster(file: str, spec: str, options: Sequence[str]) -> int:
    """Sync, submit, follow, bring the records back, and say where they are.

    Returns:
        The exit status that the run on the cluster ended with.
    """
    cluster = read_cluster_file(file)
    submission = Submission(cluster, spec)
    head = submission.find_head()
    click.echo(f"{cluster.name}: copying {cluster.project} to {head}")
    submission.sync()
    outcome = submission.run(options, storage=find_storage())
    if outcome.records is not None:
        where = f"--storage {shlex.quote(os.path.relpath(outcome.storage))}"
        pages = f"{word_command()} ui {outcome.label}"
        click.echo(f"brought   {outcome.records}")
        click.echo(f"again     {word_command()} compare {outcome.label} {where}")
        click.echo(f"MLflow    ray exec -p 5000 {shlex.quote(file)} {shlex.quote(pages)}")
    return outcome.status


def show_or_check_digest(spec: str, expected: str | None) -> None:
    """Refuse what was not expected; on a cluster's head, where nothing was, show what it is."""
    if expected is not None:
        check_digest(spec, expected)
    elif is_head():
        here = digest_experiment(spec)
        click.echo(f"digest {here}, as `orchestrator digest {spec}` says here", err=True)


@dataclass
class Ending:
    """How a command ends."""

    status: int = 0
    shown: int = 0
    """The exit status of its process: 0 where the true one is in a word, so that Ray, which
    hears of this one alone, calls nothing a failure."""


@contextmanager
def leaving_word(submission: str, find_folder: Callable[[], Path | None]) -> Iterator[Ending]:
    """Leave word of how the block has ended, for `run_on_cluster`.

    Args:
        submission: Its name; empty where nobody waits for a word.
        find_folder: The search's folder, once it is known.
    """
    ending = Ending()
    if not submission:
        yield ending
        ending.shown = ending.status
        return
    try:
        yield ending
    except OrchestratorError as error:
        print(error, file=sys.stderr)
        ending.status = error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        ending.status = INTERRUPTED
    except Exception:
        # A mistake of ours: its traceback is shown, and the connection is not to blame.
        leave_word(submission, 1, find_folder())
        raise
    leave_word(submission, ending.status, find_folder())
