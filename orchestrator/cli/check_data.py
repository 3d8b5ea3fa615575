"""`orchestrator check-data`: every image of an experiment read, before hours depend on it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from orchestrator.cli import options
from orchestrator.cli.table import draw_table
from orchestrator.preparation.data_check import CheckedData, Progress, check_data

if TYPE_CHECKING:
    from orchestrator.training.data.checking import CheckedImage, DataCheck

UNREADABLE = 2
_MOST_CLASSES = 40
_MOST_COPIES = 10
_WIDEST_NAME = 40
_SECONDS = 10
"""Between two lines about the progress, where there is no terminal."""


@click.command(name="check-data")
@options.spec
@options.overrides
@click.option("--json", "as_json", is_flag=True, help="Print everything, for a program.")
def command(spec: str, overrides: tuple[str, ...], as_json: bool) -> int:
    r"""Read every image of SPEC's data, test images too, and train nothing.

    Names each image that cannot be read, counts parts and classes, and finds files that are
    there twice: one that is trained on and validated on makes every score too good.

    Exit status: 0 all can be read, 2 some cannot.

    \b
    Examples:
      orchestrator check-data photos.yaml
      orchestrator check-data photos.yaml data.root=/data/photos --json
    """
    with _show_progress() as progress:
        checked = check_data(spec, overrides, progress=progress)
    if as_json:
        click.echo(json.dumps(checked.to_json(), indent=2, ensure_ascii=False))
    else:
        click.echo(describe_check(checked))
    return UNREADABLE if checked.check.unreadable else 0


def describe_check(checked: CheckedData) -> str:
    """Counts, sizes, copies and all that cannot be read, as text."""
    check = checked.check
    images = sum(map(sum, check.counts.values()))
    where = f" in {checked.root}" if checked.root else ""
    return "\n".join(
        [
            f"{checked.dataset}{where}: {images:,} images of {len(check.classes)} classes",
            "",
            _tabulate(check),
            "",
            *_word_balance(check),
            *_word_sizes(check),
            *_word_copies(check, checked.root),
            *_word_unreadable(checked, images),
        ]
    )


@contextmanager
def _show_progress() -> Iterator[Progress]:
    """A bar on a terminal; else a line now and then, on standard error: output is for pipes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress()
        return
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_progress() -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            click.echo(f"read {done:,} of {total:,} images", err=True)

    return progress


def _tabulate(check: "DataCheck") -> str:
    """Classes in their order, the most frequent and the rarest alone where they are many."""
    totals = [sum(counts) for counts in zip(*check.counts.values(), strict=True)]
    order: Sequence[int] = range(len(totals))
    if len(totals) > _MOST_CLASSES:
        order = sorted(order, key=lambda label: -totals[label])
        order = [*order[: _MOST_CLASSES // 2], *order[-_MOST_CLASSES // 2 :]]
    rows = [
        (_cut(check.classes[label]), *(f"{c[label]:,}" for c in check.counts.values()))
        for label in order
    ]
    if len(order) < len(totals):
        left = len(totals) - len(order)
        rows.insert(_MOST_CLASSES // 2, (f"({left} more)", *("" for _ in check.counts)))
    rows.append(("all", *(f"{sum(counts):,}" for counts in check.counts.values())))
    return draw_table(("class", *check.counts), rows)


def _word_balance(check: "DataCheck") -> list[str]:
    lines = []
    counts = check.counts["train"]
    most, least = max(counts), min(counts)
    if least and most / least >= 1.05:
        largest, smallest = (
            check.classes[counts.index(most)],
            check.classes[counts.index(least)],
        )
        lines.append(
            f"balance     {_cut(largest)} has {most / least:.1f} times the training images of "
            f"{_cut(smallest)}"
        )
    for part, own in check.counts.items():
        bare = [name for name, n in zip(check.classes, own, strict=True) if not n]
        if bare:
            more = f" and {len(bare) - 1} more have" if len(bare) > 1 else " has"
            lines.append(f"missing     {_cut(bare[0])}{more} no image in {part}")
    return lines


def _word_sizes(check: "DataCheck") -> list[str]:
    if not check.shapes:
        return []
    widths, heights = zip(*check.shapes, strict=True)
    if len(check.shapes) == 1:
        return [f"sizes       all {widths[0]} x {heights[0]} pixels"]
    return [
        f"sizes       {min(widths):,} to {max(widths):,} pixels wide, {min(heights):,} to "
        f"{max(heights):,} high"
    ]


def _word_copies(check: "DataCheck", root: str) -> list[str]:
    if check.kind != "files":
        return []
    if not check.copies:
        return ["copies      none: no two files are the same"]
    lines = [
        f"copies      {_count(len(check.copies), 'file')} more than once, to the byte; "
        f"{len(check.leaks)} in several parts, {len(check.contradictions)} in several classes"
    ]
    bad = [g for g in check.copies if g in check.leaks or g in check.contradictions]
    for group in bad[:_MOST_COPIES]:
        names = [f"{_shorten(image.name, root)} ({image.part})" for image in group]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        lines.append(f"  {' = '.join(names[:4])}{more}")
    if len(bad) > _MOST_COPIES:
        lines.append(f"  and {len(bad) - _MOST_COPIES} more; --json has them all")
    if check.leaks:
        lines.append("  what is trained on is scored on: these scores will be too good")
    return lines


def _word_unreadable(checked: CheckedData, images: int) -> list[str]:
    check = checked.check
    if check.kind == "memory":
        return ["readable    in memory as it is: there are no files to read"]
    if not check.unreadable:
        return [f"readable    all {images:,}"]
    lines = [f"unreadable  {len(check.unreadable):,} of {images:,}"]
    for image, reason in check.unreadable:
        lines.append(f"  {_word_place(image, checked.root)}: {reason}")
    if checked.skips:
        lines.append("  training leaves them out, as data.on_corrupt says")
    elif check.kind == "files":
        lines.append("  replace them, or set data.on_corrupt: skip, which leaves files out")
    else:
        lines.append("  mend the data set: only files can be left out")
    return lines


def _word_place(image: "CheckedImage", root: str) -> str:
    return f"{_shorten(image.name, root)} ({image.part})"


def _shorten(name: str, root: str) -> str:
    """A path below the data's folder, without it."""
    folder = Path(root).parent if root.endswith(".csv") else Path(root)
    return str(Path(name).relative_to(folder)) if Path(name).is_relative_to(folder) else name


def _count(number: int, word: str) -> str:
    return f"{number:,} {word} is there" if number == 1 else f"{number:,} {word}s are there"


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else f"{name[: _WIDEST_NAME - 1]}…"
