"""Verb `init`: a folder of images -> a first experiment file, each choice with its reason."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.errors import InfeasibleError, SpecError
from orchestrator.preparation.folder_survey import FolderSurvey, survey_folder
from orchestrator.preparation.proposal import Proposal, propose

_SCHEMA: Final = "experiment.schema.json"
_RESERVED: Final = ("mlflow", "mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlflow-artifacts")
_COLUMN: Final = 36
"""Where comments begin."""


@dataclass(frozen=True, kw_only=True)
class Starter:
    """A file that was written, and what it is founded on."""

    path: Path
    survey: FolderSurvey
    proposal: Proposal


def write_starter(folder: str | Path, output: str | Path | None = None) -> Starter:
    """Write an experiment file for a folder of images; an existing file is left alone.

    Args:
        folder: A folder per class, or `train`, `val` and `test` folders with them.
        output: The file; NAME.yaml in the current folder by default, NAME the folder's.

    Raises:
        SpecError: The folder holds no such images, or the file is there already.
        InfeasibleError: The file cannot be written.
    """
    survey = survey_folder(folder)
    name = name_experiment(survey.root)
    path = Path(output) if output is not None else Path(f"{name}.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise SpecError([f"--output: must end in .yaml (got {str(path)!r})"])
    proposal = propose(survey)
    text = write_text(survey, proposal, path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SpecError(
            [f"{path}: is there already and stays as it is; name another with --output"]
        ) from error
    except OSError as error:
        raise InfeasibleError(f"{path}: cannot be written ({error.strerror})") from error
    return Starter(path=path, survey=survey, proposal=proposal)


def name_experiment(root: Path) -> str:
    """The folder's name, reduced to what an experiment may be called."""
    resolved = Path(os.path.normpath(root))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", resolved.name).strip("-._")[:64]
    return f"{plain or 'folder'}-images" if plain.lower() in ("", *_RESERVED) else plain


def write_text(survey: FolderSurvey, proposal: Proposal, path: Path) -> str:
    """The whole file.

    Args:
        survey: What the folder holds.
        proposal: What was chosen for it.
        path: Where the file will lie: paths in it are relative to that.
    """
    sections = [
        _head(survey, path),
        _data(survey, proposal, path),
        _model(proposal, path),
        _loss(proposal),
        _rates(proposal),
        _training(proposal),
        _search(proposal),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _head(survey: FolderSurvey, path: Path) -> list[str]:
    schema = path.parent / _SCHEMA
    editor = [f"# yaml-language-server: $schema={_SCHEMA}"] if schema.is_file() else []
    images = sum(map(sum, survey.counts.values()))
    return [
        *editor,
        f"# Proposed by `orchestrator init` for {images:,} images of {len(survey.classes)} "
        "classes.",
        "# Only name, data.dataset, data.root, model.architecture and training.epochs must be "
        "there;",
        "# `orchestrator schema` explains every key.",
        f"name: {_scalar(name_experiment(survey.root))}",
    ]


def _data(survey: FolderSurvey, proposal: Proposal, path: Path) -> list[str]:
    root = _word_root(survey.root, path)
    lines = ["data:", "  dataset: image_folder", f"  root: {_scalar(root)}"]
    given = [part for part in ("val", "test") if part in survey.parts]
    if "val" not in given:
        lines.append(_line(f"val_share: {survey.val_share:g}", _word_share(survey)))
    if "test" in given:
        lines.append("  # test/ is read by `orchestrator evaluate RUN --split test` alone")
    smallest, largest = min(map(min, survey.sizes)), max(map(max, survey.sizes))
    lines += [
        _line(
            f"image_size: {proposal.image_size}",
            f"pixels; sides are {smallest} to {largest}, median of the lesser "
            f"{survey.lesser_side}",
        ),
        _line(f"batch_size: {proposal.batch_size}", f"of {survey.train_size:,} to train on"),
        _line(f"transforms: {proposal.transforms}", _TRANSFORMS[proposal.transforms]),
    ]
    if not proposal.pretrained:
        lines.append(_line("normalize: measured", "by the training images' own statistics"))
    if proposal.uneven:
        lines.append(
            _line("# sampler: balanced", "shows every class equally often: try either this ...")
        )
    return [
        *lines,
        _line("# loader_workers: 4", "processes per run that prepare images, for a GPU"),
        _line("# on_corrupt: skip", "leave unreadable images out; `check-data` lists them"),
    ]


_TRANSFORMS: Final = {
    "light": "shifted crop and flip; `none` where mirroring changes the class",
    "imagenet": "random crop, flip, colour jitter, small rotation",
}


def _word_share(survey: FolderSurvey) -> str:
    images = sum(map(sum, survey.counts.values()))
    return (
        f"{sum(survey.counts['val']):,} of {images:,} to validate on, the same for every seed"
    )


def _model(proposal: Proposal, path: Path) -> list[str]:
    if not proposal.pretrained:
        return [
            "model:",
            _line("architecture: small_cnn", "learns from nothing; see also resnet18"),
        ]
    return [
        "model:",
        f"  architecture: {proposal.architecture}",
        _line("weights: DEFAULT", "ImageNet's, fetched at the first run. No internet there?"),
        _line("", f"`orchestrator fetch {path.name}` where there is, or remove"),
        _line("", "this line and fine_tune: it then learns from nothing"),
    ]


def _loss(proposal: Proposal) -> list[str]:
    lines = [
        "loss:",
        _line("label_smoothing: 0.1", "or, to find out, every value with every seed:"),
        "  # label_smoothing: {grid: [0, 0.05, 0.1, 0.2]}",
    ]
    if proposal.uneven:
        lines.append(
            _line("# class_weights: balanced", "... or this: small classes weigh more")
        )
    return lines


def _rates(proposal: Proposal) -> list[str]:
    optimizer = ["optimizer:", "  name: sgd"]
    if proposal.pretrained:
        return [
            "fine_tune:",
            _line("backbone_lr: 0.005", "learning rate of what ImageNet has taught"),
            _line("head_lr: 0.05", "and of the last layer, which is new"),
            "",
            *optimizer,
            "  weight_decay: 1e-4",
        ]
    return [*optimizer, "  lr: 0.1", "  weight_decay: 5e-4"]


def _training(proposal: Proposal) -> list[str]:
    lines = [
        "schedule:",
        _line("name: one_cycle", "rises, then falls to nothing in the last epoch"),
        "",
        "training:",
        f"  epochs: {proposal.epochs}",
    ]
    if proposal.pretrained:
        lines.append(
            _line("# precision: bfloat16", "about twice as fast on GPUs and recent CPUs")
        )
    return lines


def _search(proposal: Proposal) -> list[str]:
    metric = "val/balanced_accuracy" if proposal.uneven else "val/accuracy"
    why = "every class counts alike, however small" if proposal.uneven else ""
    return [
        "search:",
        _line("seeds: 3", "trainings of every setting: one alone says little"),
        _line(f"metric: {metric}", why),
    ]


def _line(key: str, comment: str) -> str:
    text = f"  {key}"
    return f"{text:{_COLUMN}}# {comment}" if comment else text


def _word_root(root: Path, path: Path) -> str:
    """The folder as seen from the file; absolute where it is far away."""
    beside = path.absolute().parent
    relative = os.path.relpath(root, beside)
    # A tilde at the beginning would be a home folder.
    is_near = relative.count("..") <= 1 and not relative.startswith("~")
    return relative if is_near else os.path.normpath(root)


def _scalar(text: str) -> str:
    """A text as YAML reads it back; a dollar would begin a variable."""
    escaped = text.replace("$", "$$")
    plain = re.fullmatch(r"[A-Za-z./][\w./-]*", escaped, re.ASCII)
    words = ("true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf")
    if plain and escaped.lower() not in words and not re.fullmatch(r"[.\d]*", escaped):
        return escaped
    return json.dumps(escaped, ensure_ascii=False)
