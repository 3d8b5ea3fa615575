"""Probes of extracted features: how well each layer separates the classes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from orchestrator.training.probe import ProbeScore

RESULT: Final = "probe.json"


def probe_features(folder: Path, kind: Literal["knn", "linear"]) -> "Mapping[str, ProbeScore]":
    """Fit a probe of each layer on the rows of `train` and score it on those of `val`.

    The result is also written to the folder, as `probe.json`.

    Args:
        folder: What `extract_features` has written, both parts of it.
        kind: `knn`, the 20 nearest neighbours, or `linear`, logistic regression.

    Returns:
        Layer to score, in the order in which the layers were asked for.
    """
    import numpy as np

    from orchestrator.training.feature_set import LABELS, read_description
    from orchestrator.training.probe import Labelled, score_probe

    features = read_description(folder)
    labels = np.load(folder / LABELS)
    scores = {}
    for layer, file in features.files.items():
        values = np.load(folder / file, mmap_mode="r")
        fitted, scored = (
            Labelled(values[slice(*features.rows[part])], labels[slice(*features.rows[part])])
            for part in ("train", "val")
        )
        scores[layer] = score_probe(kind, fitted, scored)
    written = {
        layer: {
            "accuracy": score.accuracy,
            "interval": score.interval(),
            "correct": score.correct,
            "samples": score.samples,
        }
        for layer, score in scores.items()
    }
    text = json.dumps({"probe": kind, "layers": written}, ensure_ascii=False, indent=2)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    return scores
