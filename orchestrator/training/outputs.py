"""What a run leaves in its folder, readable without this tool.

last.safetensors     the weights of the last epoch; the average of them where one is kept
best.safetensors     those of the best epoch, where that is the one that counts
classes.json         names of the classes, in the order of their indices
scores.json          every metric of the epoch that counts, with recall and confusion by class
predictions.npz      its validation logits, labels and sample ids
summary.txt          the network and the groups of its parameters, by the first run of each
    load_report.txt      what was loaded of the weights that it started from
skipped.txt          paths of images that were left out
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from torch import nn

from orchestrator.training.context import WorkerContext
from orchestrator.training.evaluation import Predictions, write_predictions
from orchestrator.training.model.load_report import LoadReport
from orchestrator.training.model.weights import CLASSES_FILE
from orchestrator.training.model.weights_file import write_weights
from orchestrator.training.scores import Scores
from orchestrator.training.whole_file import whole_file

PREDICTIONS: Final = "predictions.npz"
LAST: Final = "last.safetensors"
BEST: Final = "best.safetensors"
SCORES: Final = "scores.json"


class Described(Protocol):
    """What the folder says of the data."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of their indices."""

    @property
    def skipped(self) -> Sequence[str]:
        """Paths of images that were left out."""


class RunFolder:
    """The files of one run; rank 0 writes them.

    Args:
        path: The folder.
        context: This worker.
        is_kept: False writes nothing: a quick try.
    """

    def __init__(self, path: Path, context: WorkerContext, *, is_kept: bool) -> None:
        self._path = path
        self._context = context
        self.writes = is_kept and context.rank == 0
        """Whether this worker writes anything."""
        self._is_kept = is_kept
        self._classes: Sequence[str] = ()
        self._facts: dict[str, float] = {}

    def open(self, data: Described, report: LoadReport | None) -> None:
        """Write what is known before the first step."""
        self._classes = data.classes
        self._facts = _count(data, report)
        if not self.writes:
            return
        if report is not None:
            _write(self._path / "load_report.txt", report.describe() + "\n")
        if data.skipped:
            _write(self._path / "skipped.txt", "\n".join(data.skipped) + "\n")

    @property
    def facts(self) -> Mapping[str, float]:
        """Images that were left out, and the share of the parameters that was loaded."""
        return self._facts

    def write_best(self, weights: Mapping[str, Any]) -> None:
        """Write the weights of the best epoch so far."""
        self._write_weights(weights, BEST)

    def write_last(self, weights: Mapping[str, Any]) -> None:
        """Write the weights of the last epoch."""
        self._write_weights(weights, LAST)

    def write_summary(self, text: str) -> None:
        """Write what the network is made of."""
        if self.writes:
            _write(self._path / "summary.txt", text + "\n")

    def close(self, predictions: Predictions, scores: Scores) -> None:
        """Write how it ended."""
        if not self._is_kept:
            return
        write_predictions(predictions, self._path / PREDICTIONS, self._context)
        if self.writes:
            values = {"classes": list(self._classes), **asdict(scores)}
            _write(self._path / SCORES, json.dumps(_without_nan(values)) + "\n")

    def _write_weights(self, weights: Mapping[str, Any], name: str) -> None:
        """Weights never stand without the classes that their outputs mean."""
        if not self.writes:
            return
        index = {word: position for position, word in enumerate(self._classes)}
        _write(
            self._path / CLASSES_FILE, json.dumps(index, ensure_ascii=False, indent=0) + "\n"
        )
        write_weights(weights, self._path / name, {})


def digest_weights(model: nn.Module) -> str:
    """SHA-256 over the name, type, shape and bytes of every parameter and buffer, in order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _count(data: Described, report: LoadReport | None) -> dict[str, float]:
    counted = {"skipped_images": float(len(data.skipped))} if data.skipped else {}
    return counted if report is None else {**counted, "loaded_share": report.share}


def _without_nan(values: dict[str, object]) -> dict[str, object]:
    """JSON has no NaN: the recall of a class without images is null."""
    recall = values["recall"]
    assert isinstance(recall, tuple)
    return values | {"recall": [None if math.isnan(value) else value for value in recall]}


def _write(path: Path, text: str) -> None:
    with whole_file(path, key="results") as unfinished:
        unfinished.path.write_text(text, encoding="utf-8")
