"""`orchestrator fetch`: weights and data, for machines without internet."""

import sys
from contextlib import redirect_stdout

import click
from rich.console import Console

from orchestrator.cli import options
from orchestrator.preparation.fetching import Fetched, fetch, is_left_out
from orchestrator.specs.load import load_spec
from orchestrator.specs.names import FETCHED_BY_HAND


@click.command(name="fetch")
@options.spec
@options.overrides
def command(spec: str, overrides: tuple[str, ...]) -> None:
    r"""Fetch what SPEC takes from the internet, and say where it lies; train nothing.

    That is torchvision's weights of every network that SPEC searches over, kept in torch hub's
    folder (the variable TORCH_HOME moves it), and the data set where data.download is true.
    What is there already is looked at and kept.

    \b
    Examples:
      orchestrator fetch photos.yaml
      orchestrator fetch cifar.yaml data.download=true
    """
    loaded = load_spec(spec, overrides)
    # torch tells on standard output what it fetches.
    with redirect_stdout(sys.stderr), Console(stderr=True).status("") as status:
        found = fetch(spec, overrides, watch=lambda what: status.update(f"fetching {what}"))
    for thing in found:
        click.echo(describe_fetched(thing))
    if is_left_out(loaded):
        dataset, root = loaded.keys.data.dataset, loaded.keys.data.root
        by_hand = f"torchvision cannot fetch it, its page on {dataset} says where it is had"
        advice = by_hand if dataset in FETCHED_BY_HAND else "data.download=true would fetch it"
        click.echo(f"not fetched: data set {dataset}, which is to lie in {root}; {advice}")
    elif not found:
        click.echo(f"{spec}: takes nothing from the internet")
    if found:
        click.echo("for another machine, copy them to the same places")


def describe_fetched(thing: Fetched) -> str:
    """`weights of resnet18, DEFAULT  44.7 MB  /home/me/.cache/...  fetched`."""
    state = {True: "  fetched", False: "  was there", None: ""}[thing.is_new]
    return f"{thing.what}  {word_bytes(thing.size)}  {thing.path}{state}"


def word_bytes(size: int) -> str:
    """Bytes in decimal units, as downloads are counted: `44.7 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
