"""`orchestrator init`: a first experiment file for a folder of images."""

import click

from orchestrator.cli.program import word_command
from orchestrator.cli.table import draw_table
from orchestrator.preparation.folder_survey import FolderSurvey
from orchestrator.preparation.starter import Starter, write_starter

_MOST_CLASSES = 20
_WIDEST_NAME = 40


@click.command(name="init")
@click.argument("folder", metavar="FOLDER", type=click.Path())
@click.option(
    "--output",
    metavar="FILE",
    help="File to write; the folder's name and .yaml, here, by default.",
)
def command(folder: str, output: str | None) -> None:
    r"""Look at FOLDER and write an experiment file for it, with the reason of each choice.

    FOLDER holds a folder of images per class, or train, val and test folders with them. Names
    and headers are read, no image is decoded; a file that is there already stays as it is.

    \b
    Examples:
      orchestrator init photos
      orchestrator init photos --output experiments/photos.yaml
    """
    starter = write_starter(folder, output)
    click.echo(describe_survey(starter.survey, shown=folder))
    click.echo()
    click.echo(describe_starter(starter))


def describe_survey(survey: FolderSurvey, *, shown: str) -> str:
    """Images of each class and part, how uneven they are, and how large."""
    parts = [part for part in ("train", "val", "test") if any(survey.counts[part])]
    images = sum(map(sum, survey.counts.values()))
    lines = [f"{shown}: {images:,} images of {len(survey.classes)} classes", ""]
    lines.append(_tabulate(survey, parts))
    lines += ["", *_word_parts(survey), _word_balance(survey), _word_sizes(survey)]
    if survey.unreadable:
        count = len(survey.unreadable)
        looked = count + len(survey.sizes)
        lines.append(
            f"unreadable  {count} of {looked:,} looked at, such as {survey.unreadable[0]}: "
            "check-data lists them all"
        )
    return "\n".join(lines)


def describe_starter(starter: Starter) -> str:
    """What was written, and what to type next."""
    proposal, program = starter.proposal, word_command()
    start = "ImageNet's weights" if proposal.pretrained else "random weights"
    file = click.format_filename(starter.path)
    steps = [
        (f"{program} check-data {file}", "can every image be read, is any in two parts?"),
        (f"{program} plan {file}", "what a run would do"),
        (f"{program} run {file} --fast-dev-run", "one batch: does it train at all?"),
        (f"{program} run {file}", ""),
    ]
    if proposal.pretrained:
        steps.insert(1, (f"{program} fetch {file}", "the weights, where there is internet"))
    width = max(len(step) for step, _ in steps[:-1])
    return "\n".join(
        [
            f"wrote {file}: {proposal.architecture} from {start}, {proposal.image_size} "
            f"pixels, batches of {proposal.batch_size}",
            "",
            "next",
            *(f"  {step:{width}}  {why}".rstrip() for step, why in steps),
        ]
    )


def _tabulate(survey: FolderSurvey, parts: list[str]) -> str:
    order = sorted(range(len(survey.classes)), key=lambda label: -survey.counts["train"][label])
    shown = order if len(order) <= _MOST_CLASSES else [*order[:10], *order[-10:]]
    rows = [
        (
            survey.classes[label][:_WIDEST_NAME],
            *(f"{survey.counts[part][label]:,}" for part in parts),
        )
        for label in shown
    ]
    if len(shown) < len(order):
        rows.insert(10, (f"({len(order) - 20} more)", *("" for _ in parts)))
    rows.append(("all", *(f"{sum(survey.counts[part]):,}" for part in parts)))
    return draw_table(("class", *parts), rows)


def _word_parts(survey: FolderSurvey) -> list[str]:
    lines = []
    if "val" not in survey.parts:
        lines.append(f"parts       {survey.val_share:.0%} are cut off to validate on")
    bare = [
        name
        for name, count in zip(survey.classes, survey.counts["val"], strict=True)
        if not count
    ]
    if bare:
        what = "class has" if len(bare) == 1 else "classes have"
        lines.append(
            f"unseen      {len(bare)} {what} no image to validate on, such as {bare[0]}"
        )
    return lines


def _word_balance(survey: FolderSurvey) -> str:
    if survey.imbalance < 1.05:
        return "balance     every class has about as many images to train on"
    return (
        f"balance     the largest class has {survey.imbalance:.1f} times the training images "
        "of the smallest"
    )


def _word_sizes(survey: FolderSurvey) -> str:
    widths, heights = zip(*survey.sizes, strict=True)
    read = f"{len(survey.sizes):,} headers read"
    if len(set(survey.sizes)) == 1:
        return f"sizes       {widths[0]} x {heights[0]} pixels, all of them ({read})"
    return (
        f"sizes       {min(widths)} to {max(widths)} pixels wide, {min(heights)} to "
        f"{max(heights)} high ({read})"
    )
