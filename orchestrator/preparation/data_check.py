"""Verb `check-data`: can every image of an experiment be read, and is any there twice?

check_data("experiments/photos.yaml").check.unreadable
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SpecError, TrainingError
from orchestrator.inputs import read_surroundings
from orchestrator.planning.data_numbers import resolve_data
from orchestrator.planning.run_plan import Place
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.load import load_spec
from orchestrator.tracking.lookup import FoundRun

if TYPE_CHECKING:
    from orchestrator.training.data.checking import CheckedImage, DataCheck

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all."""


@dataclass(frozen=True, kw_only=True)
class CheckedData:
    """An experiment's data, read from end to end."""

    dataset: str
    root: str
    """Absolute folder or table; empty where there is none."""
    check: "DataCheck"
    skips: bool
    """Whether training leaves files that cannot be read out."""

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        check = self.check
        return {
            "dataset": self.dataset,
            "root": self.root,
            "kind": check.kind,
            "images": sum(map(sum, check.counts.values())),
            "counts": {
                part: dict(zip(check.classes, counts, strict=True))
                for part, counts in check.counts.items()
            },
            "sizes": [
                {"width": shape.width, "height": shape.height, "images": count}
                for shape, count in check.shapes.items()
            ],
            "unreadable": [
                {**_plain(image), "reason": reason} for image, reason in check.unreadable
            ],
            "copies": [[_plain(image) for image in group] for group in check.copies],
        }


def check_data(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    progress: Progress | None = None,
) -> CheckedData:
    """Read every image that an experiment names, of all parts, and train nothing.

    Args:
        source: Path of an experiment file, or a map of the same form.
        overrides: `key.sub=value`, the value as YAML.
        progress: Told how far it is.

    Raises:
        SpecError: The spec has mistakes, or its data is not there; each with its place.
    """
    spec = _without_weights(load_spec(source, overrides))
    try:
        around = read_surroundings(spec, _find_no_run)
        plan = resolve_data(spec.keys, around.inputs.data)
        place = Place(
            folder="",
            loader_workers=0,
            data_root=spec.keys.data.root or "",
            download=spec.keys.data.download,
            sources=around.root,
        )
        from orchestrator.training.data.checking import check_data_set

        check = check_data_set(plan, place, progress=progress)
    except TrainingError as error:
        key = str(error).partition(":")[0]
        raise SpecError([f"{spec.place_of(key)}: {error}"]) from error
    return CheckedData(
        dataset=plan.dataset,
        root=place.data_root,
        check=check,
        skips=plan.on_corrupt == "skip",
    )


def _without_weights(spec: ExperimentSpec) -> ExperimentSpec:
    """The data can be checked before there are weights, and their digests take time."""
    model = spec.keys.model.model_copy(update={"weights": None, "rules": ()})
    spaces = {key: space for key, space in spec.spaces.items() if key != "model.weights"}
    return replace(spec, keys=spec.keys.model_copy(update={"model": model}), spaces=spaces)


def _find_no_run(name: str) -> FoundRun:
    raise AssertionError(name)


def _plain(image: "CheckedImage") -> dict[str, str]:
    return {"part": image.part, "class": image.class_name, "name": image.name}
