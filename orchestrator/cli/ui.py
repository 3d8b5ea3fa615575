"""`orchestrator ui`: MLflow's pages, on this machine alone, opened on a search."""

import os
import signal
import time

import click

from orchestrator.cli import options
from orchestrator.recorded.pages import find_pages
from orchestrator.tracking import ui

_PATIENCE_S = 300.0


@click.command(name="ui")
@click.argument("name", metavar="[NAME|RUN]", required=False)
@options.storage
@click.option(
    "--port", metavar="N", type=click.IntRange(1, 65_435), default=5000, show_default=True
)
def command(name: str | None, storage: str | None, port: int) -> int:
    r"""Open MLflow's pages on a search or a run; Ctrl-C ends them.

    RUN is an MLflow id or its unique beginning, NAME@best, or NAME/label_smoothing=0.1,seed=2.

    \b
    Examples:
      orchestrator ui                              # the latest search of all
      orchestrator ui digits-label-smoothing#3
      orchestrator ui digits-label-smoothing@best
    """
    found = find_pages(name, storage_path=storage)
    if found.server:
        click.echo(found.link(found.server))
        return 0
    port = ui.free_port(port)
    base = f"http://{ui.HOST}:{port}"
    server = ui.start_server(found.store, port)
    try:
        click.echo("starting MLflow's pages")
        deadline = time.monotonic() + _PATIENCE_S
        while not ui.answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                click.echo(
                    "MLflow's server did not start; to see why: "
                    f"mlflow server --backend-store-uri {found.store}",
                    err=True,
                )
                return 1
            time.sleep(0.2)
        click.echo(f"{found.link(base)}\nCtrl-C ends it")
        server.wait()
    except KeyboardInterrupt:
        click.echo()
    finally:
        _end(server.pid)
        server.wait()
    return 0


def _end(process: int) -> None:
    """The server and its workers, which share a process group."""
    try:
        os.killpg(process, signal.SIGTERM)
    except ProcessLookupError:
        return
