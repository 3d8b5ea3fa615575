"""`orchestrator doctor`: could these machines train?"""

import json
import textwrap
from dataclasses import asdict

import click

from orchestrator.cli import options
from orchestrator.cli.answer import terminal_width
from orchestrator.doctor.findings import Finding
from orchestrator.doctor.visit import Visit, visit
from orchestrator.errors import InfeasibleError
from orchestrator.specs.load import load_spec

_MARGIN = 20


@click.command(name="doctor")
@click.argument("spec", metavar="[SPEC]", required=False, type=click.Path())
@options.overrides
@options.storage
@click.option("--json", "as_json", is_flag=True, help="Print everything, for a program.")
def command(
    spec: str | None, overrides: tuple[str, ...], storage: str | None, as_json: bool
) -> int:
    r"""Look at this machine, or at every node of the Ray that RAY_ADDRESS names.

    Versions that must be equal, GPUs and who holds their memory, the storage, limits, clocks,
    MLflow; with SPEC its data set too. Changes nothing and ends no process.

    Exit status: 0 a run would not be stopped, 3 it would.

    \b
    Examples:
      orchestrator doctor
      orchestrator doctor experiments/digits-label-smoothing.yaml
      RAY_ADDRESS=10.0.0.1:6379 orchestrator doctor photos.yaml
    """
    loaded = load_spec(spec, overrides) if spec else None
    found = visit(loaded, storage_path=storage)
    if as_json:
        click.echo(json.dumps(_to_json(found), indent=2))
    else:
        click.echo(found.machines)
        click.echo()
        for finding in found.findings:
            click.echo(word_finding(finding, width=terminal_width()))
        click.echo()
        click.echo(_word_end(found))
    return InfeasibleError.exit_status if found.stops else 0


def word_finding(finding: Finding, *, width: int) -> str:
    """A finding as a line or more; what would mend it below."""
    head = f"  {finding.level:<5} {finding.subject:<11} "
    text = textwrap.fill(
        finding.text,
        width,
        initial_indent=head,
        subsequent_indent=" " * _MARGIN,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{text}\n{' ' * _MARGIN}-> {finding.mend}" if finding.mend else text


def _word_end(found: Visit) -> str:
    counts = [sum(one.level == level for one in found.findings) for level in ("stop", "mend")]
    if not any(counts):
        return "all is well"
    stops, mends = counts
    return f"{stops} would stop a run, {mends} would not but should be mended"


def _to_json(found: Visit) -> dict[str, object]:
    return {
        "machines": found.machines,
        "stops": found.stops,
        "findings": [asdict(one) for one in found.findings],
        "reports": dict(found.reports),
    }
