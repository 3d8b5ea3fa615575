"""`orchestrator evaluate`: the scores of a recorded run, on any part of its data."""

import json

import click
from rich.console import Console

from orchestrator.cli import options
from orchestrator.cli.answer import terminal_width
from orchestrator.cli.table import GAP, draw_table
from orchestrator.errors import nothing_is_trained
from orchestrator.recorded.evaluation import PARTS, Evaluation, evaluate

_MOST_CLASSES = 40
_MOST_CONFUSED = 20
_WIDEST_NAME = 24
_SHARES = ("accuracy", "top5", "balanced_accuracy", "macro_f1")


@click.command(name="evaluate")
@click.argument("run", metavar="RUN")
@click.option(
    "--split",
    type=click.Choice(PARTS),
    default="val",
    show_default=True,
    help="Part of the data to score; test images are read for `test` alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything, for a program.")
@options.storage
def command(run: str, split: str, as_json: bool, storage: str | None) -> None:
    r"""Score a recorded run on its own data: all metrics, every class, the confusion matrix.

    RUN is an MLflow id or its unique beginning, NAME@best, or NAME/label_smoothing=0.1,seed=2.
    The weights are those that count: the best epoch's under training.select: best, else the
    last one's. `--split train` scores the images and labels that were learned from, unchanged.

    \b
    Examples:
      orchestrator evaluate digits-label-smoothing@best
      orchestrator evaluate digits-label-smoothing@best --split test
      orchestrator evaluate digits-label-smoothing/label_smoothing=0.1,seed=2 --json
    """
    with nothing_is_trained(), Console(stderr=True).status(f"scoring {run} on {split}"):
        evaluation = evaluate(run, split=split, storage_path=storage)
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False))
    else:
        click.echo(describe_evaluation(evaluation))


def describe_evaluation(evaluation: Evaluation) -> str:
    """The metrics, the classes, and the confusion matrix of a few classes, as text."""
    rescored = evaluation.rescored
    samples = f"{rescored.scores.samples:,} images"
    parts = [
        f"{evaluation.run.run_id}: {samples} of {evaluation.part}, "
        f"{rescored.weights.name}, on {rescored.device}",
        draw_table(("metric", "value"), _metric_rows(evaluation)),
        *_word_record(evaluation),
        _describe_classes(evaluation),
    ]
    if len(rescored.classes) <= _MOST_CONFUSED:
        parts.append(_describe_confusion(evaluation))
    return "\n\n".join(parts)


def _metric_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    rows = []
    for name, value in evaluation.metrics.items():
        is_share = name.rpartition("/")[2] in _SHARES
        rows.append((name, f"{100 * value:.2f} %" if is_share else f"{value:.4f}  "))
    return rows


def _word_record(evaluation: Evaluation) -> list[str]:
    differences = evaluation.differences
    if differences is None:
        return []
    if not differences:
        return ["as recorded, to the last digit"]
    name = max(differences, key=lambda key: abs(differences[key]))
    return [
        f"not as recorded to the last digit: {name} differs by {differences[name]:+.1e}; "
        "another machine, device or version sums in another order"
    ]


def _describe_classes(evaluation: Evaluation) -> str:
    rescored, counts = evaluation.rescored, evaluation.images_by_class
    found = list(zip(rescored.classes, counts, rescored.scores.recall, strict=True))
    heading = ""
    if len(found) > _MOST_CLASSES:
        present = [row for row in found if row[1]]
        found = sorted(present, key=lambda row: row[2])[:_MOST_CONFUSED]
        heading = (
            f"{GAP}the {len(found)} lowest of {len(rescored.classes)} classes; "
            "--json has them all\n"
        )
    rows = [
        (_cut(name), f"{count:,}", f"{100 * recall:.1f} %" if count else "–")
        for name, count, recall in found
    ]
    return heading + draw_table(("class", "images", "recall"), rows)


def _describe_confusion(evaluation: Evaluation) -> str:
    """Rows are true classes; a column is named by its class where names are short."""
    names = evaluation.rescored.classes
    columns = sum(len(GAP) + max(len(name), 3) for name in names)
    short = columns + _WIDEST_NAME <= terminal_width()
    heads = names if short else [str(index) for index in range(len(names))]
    labels = names if short else [f"{i} {_cut(name)}" for i, name in enumerate(names)]
    rows = [
        (label, *(str(count) if count else "·" for count in row))
        for label, row in zip(labels, evaluation.rescored.scores.confusion, strict=True)
    ]
    return draw_table(("true \\ named", *heads), rows)


def _cut(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else f"{name[: _WIDEST_NAME - 1]}…"
