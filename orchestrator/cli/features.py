"""`orchestrator features`: what layers of a recorded network give for a data set's images."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from orchestrator.cli import options
from orchestrator.cli.interrupt import stopped_by_signals
from orchestrator.cli.table import draw_table
from orchestrator.errors import nothing_is_trained
from orchestrator.recorded.evaluation import PARTS
from orchestrator.recorded.features import FeatureOptions, Progress, extract_features
from orchestrator.recorded.probing import probe_features

if TYPE_CHECKING:
    from orchestrator.training.feature_set import FeatureSet
    from orchestrator.training.probe import ProbeScore

_PROBES = {"knn": "20 nearest neighbours", "linear": "logistic regression"}


@click.command(name="features")
@options.spec
@options.overrides
@click.option("--run", "run", metavar="RUN", required=True, help="Whose network: as evaluate.")
@click.option(
    "--layers",
    metavar="NAME,NAME",
    required=True,
    help="Layers by their names in the network, such as layer3,layer4.1.conv2,avgpool.",
)
@click.option("--out", metavar="DIR", required=True, help="A folder that is new or empty.")
@click.option(
    "--split",
    metavar="PART,PART",
    help="train, val, test, several of them, or all; val by default, train,val with --probe.",
)
@click.option(
    "--pool",
    is_flag=True,
    help="Keep one value per channel: the mean over a map, or over a transformer's tokens.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes, started by Ray; on several nodes DIR must be on shared storage.",
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images at once in each process.",
)
@click.option(
    "--probe",
    type=click.Choice(list(_PROBES)),
    help="Say how well each layer separates the classes: fitted on train, scored on val.",
)
@options.storage
def command(
    spec: str,
    overrides: tuple[str, ...],
    run: str,
    layers: str,
    out: str,
    split: str | None,
    pool: bool,
    workers: int,
    batch_size: int,
    probe: Literal["knn", "linear"] | None,
    storage: str | None,
) -> None:
    r"""Write what layers of RUN's network give for the images of SPEC, one array per layer.

    Of SPEC only its data are read, and their classes may be others than RUN's. Images pass the
    transforms of evaluation, in as many channels as the network takes; at its image size unless
    SPEC sets data.image_size, normalised as it was trained unless SPEC sets data.normalize.
    DIR gets LAYER.npy (float32), labels.npy, ids.npy and features.json, which names the rows of
    each part; numpy.load reads the arrays.

    \b
    Examples:
      orchestrator features cats.yaml --run flowers@best --layers layer4,avgpool --out features
      orchestrator features cats.yaml --run flowers@best --layers avgpool --out f --probe knn
      orchestrator features cats.yaml --run dogs@best --layers head --out f data.train_size=100
    """
    asked = FeatureOptions(
        layers=_read_names(layers, option="--layers"),
        out=Path(out),
        parts=_read_parts(split, probes=probe is not None),
        pool=pool,
        workers=workers,
        batch_size=batch_size,
    )
    with nothing_is_trained(), stopped_by_signals(), _bar() as progress:
        features = extract_features(
            spec, overrides, run=run, options=asked, storage_path=storage, progress=progress
        )
    click.echo(describe_features(features))
    click.echo(f"\nwritten to {out}")
    if probe is not None:
        with Console(stderr=True).status(f"fitting {_PROBES[probe]}"):
            scores = probe_features(Path(out), probe)
        click.echo(f"\n{_PROBES[probe]}, fitted on train, scored on val\n")
        click.echo(describe_probe(features, scores))


def describe_features(features: "FeatureSet") -> str:
    """Whose network, on which images, and the array of each layer, as text."""
    rows = ", ".join(f"{part} {end - first:,}" for part, (first, end) in features.rows.items())
    files = [
        (name, _word_shape(features.shapes[name]), file)
        for name, file in features.files.items()
    ]
    return (
        f"{features.run} ({features.weights}) on {features.dataset}: {rows} images\n\n"
        f"{draw_table(('layer', 'shape', 'file'), files, to_left=3)}"
    )


def describe_probe(features: "FeatureSet", scores: "Mapping[str, ProbeScore]") -> str:
    """How well each layer separates the classes, in the order asked for, as text."""
    rows = []
    for name, score in scores.items():
        low, high = (f"{100 * bound:.1f}" for bound in score.interval())
        accuracy = f"{100 * score.accuracy:.1f}"
        rows.append(
            (name, _word_shape(features.shapes[name]), accuracy, f"{low:>5} to {high:>5}")
        )
    return draw_table(("layer", "shape", "accuracy %", "95 % interval"), rows, to_left=2)


def _read_names(text: str, *, option: str) -> tuple[str, ...]:
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise click.UsageError(f"{option} names nothing")
    return names


def _read_parts(text: str | None, *, probes: bool) -> tuple[str, ...]:
    if text is None:
        return ("train", "val") if probes else ("val",)
    names = PARTS if text == "all" else _read_names(text, option="--split")
    for name in names:
        if name not in PARTS:
            raise click.UsageError(f"--split: there are {', '.join(PARTS)}, all (got {name!r})")
    if probes and not {"train", "val"} <= set(names):
        raise click.UsageError(
            f"--probe fits on train and scores on val; leave --split {text} out"
        )
    # Their order is the rows' order; a part that is named twice is there once.
    return tuple(part for part in PARTS if part in names)


def _word_shape(shape: tuple[int, ...]) -> str:
    """Of one image."""
    return "×".join(map(str, shape[1:])) or "1"


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on a terminal, and silence elsewhere."""
    console = Console(stderr=True)
    bar = Bar(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("opening", total=None, count="")

    def progress(done: int, total: int) -> None:
        count = f"{done:,}/{total:,}"
        what = "images" if done else "starting"
        bar.update(task, description=what, completed=done, total=total, count=count)

    with bar:
        yield progress
