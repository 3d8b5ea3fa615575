"""`orchestrator run`: train, record, compare."""

from contextlib import closing

import click

from orchestrator import api
from orchestrator.cli import options
from orchestrator.cli.interrupt import stopped_by_signals
from orchestrator.cli.plan import show_plan
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
      orchestrator run experiments/digits-label-smoothing.yaml loss.label_smoothing=0.1
      orchestrator run experiments/digits-label-smoothing.yaml --in-process --run 3
    """
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run")
    if run_number != 1 and not in_process:
        raise click.UsageError("--run goes with --in-process")
    if dry_run and in_process:
        raise click.UsageError("--in-process trains; it does not go with --dry-run")
    limits = api.Limits(fast_dev_run=fast_dev_run, overfit_batches=overfit_batches)
    if dry_run:
        planned = api.preview(spec, overrides, limits=limits, fresh=fresh)
        show_plan(*planned, as_json=as_json)
        return 0
    asked = api.RunOptions(
        limits=limits,
        in_process=in_process,
        run_number=run_number,
        fresh=fresh,
        wait_min=wait_min,
    )
    with closing(Screen()) as screen, stopped_by_signals(screen.word_going_on):
        record = api.run(spec, overrides, options=asked, watch=screen)
    return exit_status(record)
