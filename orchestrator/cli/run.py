"""`orchestrator run`: train, record, compare."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import click

from orchestrator import api
from orchestrator.cli import options
from orchestrator.cli.hangup import outlives_its_connection
from orchestrator.cli.interrupt import stopped_by_signals
from orchestrator.cli.plan import show_plan
from orchestrator.cli.remote import leaving_word, run_on_cluster, show_or_check_digest
from orchestrator.cli.screen import Screen, exit_status


@click.command(name="run", cls=options.LimitsCommand)
@options.spec
@options.overrides
@options.limits
@click.option(
    "--dry-run", is_flag=True, help="Show the plan and start nothing, as `plan` does."
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the plan as JSON.")
@click.option(
    "--in-process",
    is_flag=True,
    help="Train one run here, without Ray; its exceptions come through, for a debugger.",
)
@click.option(
    "--run",
    "run_number",
    metavar="N",
    type=int,
    default=1,
    help="Which run --in-process trains, as `plan` numbers them; the first by default.",
)
@options.fresh
@options.wait
@options.cluster
def command(
    spec: str,
    overrides: tuple[str, ...],
    fast_dev_run: int | None,
    overfit_batches: int | None,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
    in_process: bool,
    run_number: int,
    wait_min: float,
    cluster: str | None,
    expect: str | None,
    submission: str,
) -> int:
    r"""Train everything that SPEC asks for, record it in MLflow, and compare it.

    Keys of the file can be replaced on the command line: KEY=VALUE, the value as YAML.
    Runs that are there already, with the same numbers, are not trained again, and a search that
    was interrupted goes on. Ctrl-C stops soon and keeps what was done; a second one ends at
    once.

    \b
    Examples:
      orchestrator run experiments/digits-label-smoothing.yaml
      orchestrator run experiments/digits-label-smoothing.yaml search.seeds=10
      orchestrator run experiments/digits-label-smoothing.yaml --cluster cluster.yaml
    """
    _refuse_contradictions(click.get_current_context().params)
    limits = api.Limits(fast_dev_run=fast_dev_run, overfit_batches=overfit_batches)
    if cluster is not None:
        flags = {"--fresh": fresh, "--dry-run": dry_run, "--json": as_json}
        given = options.word_options(flags, limits, wait_min=wait_min)
        return run_on_cluster(cluster, spec, [*overrides, *given])
    asked = api.RunOptions(
        limits=limits,
        in_process=in_process,
        run_number=run_number,
        fresh=fresh,
        wait_min=wait_min,
    )
    with closing(Screen()) as screen, leaving_word(submission, screen.find_folder) as word:
        show_or_check_digest(spec, expect)
        if dry_run:
            planned = api.preview(spec, overrides, limits=limits, fresh=fresh)
            show_plan(*planned, as_json=as_json)
        else:
            word.status = _train(spec, overrides, asked, screen)
    return word.shown


def _refuse_contradictions(given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together.

    Args:
        given: The command's parameters by name.
    """
    in_process, dry_run, cluster = (given[key] for key in ("in_process", "dry_run", "cluster"))
    options.refuse(given["as_json"] and not dry_run, "--json goes with --dry-run")
    alone = given["run_number"] != 1 and not in_process
    options.refuse(alone, "--run goes with --in-process")
    here = "--in-process trains here; it does not go with --dry-run or --cluster"
    options.refuse(in_process and bool(dry_run or cluster), here)
    idle = (
        "--wait waits for other searches' GPUs; it does not go with --dry-run or --in-process"
    )
    options.refuse(bool(given["wait_min"] and (in_process or dry_run)), idle)
    both = cluster is not None and given["expect"] is not None
    options.refuse(both, "--cluster compares by itself; it does not go with --expect")


def _train(spec: str, overrides: tuple[str, ...], asked: api.RunOptions, screen: Screen) -> int:
    with (
        stopped_by_signals(screen.word_going_on),
        outlives_its_connection(),
    ):
        record = api.run(spec, overrides, options=asked, watch=screen)
    return exit_status(record)
