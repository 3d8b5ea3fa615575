"""`orchestrator plan`: what would happen."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator import api
from orchestrator.cli import options
from orchestrator.planning.describe import describe_plan
from orchestrator.planning.search_plan import SearchPlan

if TYPE_CHECKING:
    from orchestrator.training.preview import Preview


@click.command(name="plan", cls=options.LimitsCommand)
@options.spec
@options.overrides
@options.limits
@options.fresh
@click.option(
    "--json", "as_json", is_flag=True, help="Print the whole plan, every value of it."
)
def command(
    spec: str,
    overrides: tuple[str, ...],
    fast_dev_run: int | None,
    overfit_batches: int | None,
    fresh: bool,
    as_json: bool,
) -> None:
    r"""Show what `run` would do: settings, seeds, runs, lanes, devices, folders; start nothing.

    \b
    Example:
      orchestrator plan experiments/digits-label-smoothing.yaml search.seeds=10
    """
    limits = api.Limits(fast_dev_run=fast_dev_run, overfit_batches=overfit_batches)
    show_plan(*api.preview(spec, overrides, limits=limits, fresh=fresh), as_json=as_json)


def show_plan(plan: SearchPlan, previews: "Sequence[Preview]", *, as_json: bool) -> None:
    """Print a plan, every run of it numbered, or all of it as JSON."""
    if as_json:
        click.echo(json.dumps(plan.to_json(), indent=2))
    else:
        network = [*previews[0].rows(), *word_footprint(plan, previews[0])]
        click.echo(describe_plan(plan, network=network, every_run=True))


def word_footprint(plan: SearchPlan, preview: "Preview") -> list[tuple[str, str]]:
    """What the search will take of the disk, as a row; none where nothing trains."""
    if not plan.missing:
        return []
    first = plan.missing[0]
    text = preview.footprint.describe(
        first.place.checkpoint,
        runs=len(plan.missing),
        lanes=plan.lanes.lanes,
        best=first.select == "best",
    )
    return [("disk", text)]
