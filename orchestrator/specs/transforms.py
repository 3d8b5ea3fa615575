"""Lists of transforms as they are written: torchvision's names, or the user's own code."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.specs.mistakes import value_text
from orchestrator.specs.section import OWN_CODE, refuse, refuse_all

PRESETS: Final = ("none", "light", "imagenet")

_ARGUMENTS: Final[Mapping[str, str]] = {
    "AugMix": "severity mixture_width chain_depth alpha all_ops interpolation fill",
    "AutoAugment": "policy interpolation fill",
    "CenterCrop": "size",
    "ColorJitter": "brightness contrast saturation hue",
    "ElasticTransform": "alpha sigma interpolation fill",
    "GaussianBlur": "kernel_size sigma",
    "GaussianNoise": "mean sigma clip",
    "Grayscale": "num_output_channels",
    "JPEG": "quality",
    "Pad": "padding fill padding_mode",
    "RandAugment": "num_ops magnitude num_magnitude_bins interpolation fill",
    "RandomAdjustSharpness": "sharpness_factor p",
    "RandomAffine": "degrees translate scale shear interpolation fill center",
    "RandomAutocontrast": "p",
    "RandomChannelPermutation": "",
    "RandomCrop": "size padding pad_if_needed fill padding_mode",
    "RandomEqualize": "p",
    "RandomErasing": "p scale ratio value",
    "RandomGrayscale": "p",
    "RandomHorizontalFlip": "p",
    "RandomInvert": "p",
    "RandomPerspective": "distortion_scale p interpolation fill",
    "RandomPhotometricDistort": "brightness contrast saturation hue p",
    "RandomPosterize": "bits p",
    "RandomResizedCrop": "size scale ratio interpolation antialias",
    "RandomRotation": "degrees interpolation expand center fill",
    "RandomSolarize": "threshold p",
    "RandomVerticalFlip": "p",
    "RandomZoomOut": "fill side_range p",
    "Resize": "size interpolation max_size antialias",
    "TrivialAugmentWide": "num_magnitude_bins interpolation fill",
}
"""torchvision.transforms.v2's classes that take and give one image, and their arguments."""

_ELSEWHERE: Final[Mapping[str, str]] = {
    "Normalize": "comes last by itself; set data.normalize",
    "ToTensor": "is done by itself; leave it out",
    "ToImage": "is done by itself; leave it out",
    "ToDtype": "is done by itself; leave it out",
    "PILToTensor": "is done by itself; leave it out",
    "MixUp": "mixes whole batches; set data.mixup",
    "CutMix": "mixes whole batches; set data.cutmix",
}

STEPS_SCHEMA: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "anyOf": [
            {"enum": sorted(_ARGUMENTS)},
            {"type": "string", "pattern": ":"},
            {"type": "object", "minProperties": 1, "maxProperties": 1},
        ]
    },
}


def check_transforms(value: object) -> object:
    """Check key `data.transforms`: a preset, one's own code, or a list of steps."""
    if value is None:
        raise refuse(f"must be one of {', '.join(PRESETS)}, or a list (got null)")
    if not isinstance(value, str):
        return check_steps(value)
    if value in PRESETS or OWN_CODE.fullmatch(value):
        return value
    near = get_close_matches(value.lower(), PRESETS, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"use {', '.join(PRESETS)} or a list"
    if value in _ARGUMENTS:
        advice = f"write a list, [{value}]"
    raise refuse(f"no such preset (got {value!r}); {advice}")


def check_steps(value: object) -> object:
    """Check a list of steps, each a name or a map from one name to its arguments."""
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise refuse(f"must be a list of transforms (got {value_text(value)})")
    found = [(str(index), text) for index, step in enumerate(value) for text in _explain(step)]
    if found:
        raise refuse_all(found)
    return list(value)


def parse_steps(steps: Sequence[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Take checked steps apart into names and arguments."""
    parsed = []
    for step in steps:
        name, arguments = (step, None) if isinstance(step, str) else next(iter(step.items()))
        parsed.append((name, dict(arguments or {})))
    return parsed


def _explain(step: object) -> Iterator[str]:
    """Yield what is wrong with a step."""
    name, arguments = step, None
    if isinstance(step, Mapping) and len(step) == 1:
        name, arguments = next(iter(step.items()))
    if not isinstance(name, str):
        shown = value_text(step)
        yield f"must be a name, or a map from one name to its arguments (got {shown})"
    elif not OWN_CODE.fullmatch(name) and name not in _ARGUMENTS:
        yield _explain_name(name)
    elif not isinstance(arguments, Mapping | None):
        yield f"{name} takes a map of arguments (got {value_text(arguments)})"
    elif name in _ARGUMENTS:
        known = _ARGUMENTS[name].split()
        takes = f"takes {', '.join(known)}" if known else "takes none"
        for argument in arguments or ():
            if argument not in known:
                yield f"{name} has no argument {argument!r}; it {takes}"


def _explain_name(name: str) -> str:
    if name in _ELSEWHERE:
        return f"{name} {_ELSEWHERE[name]}"
    near = get_close_matches(name, _ARGUMENTS, n=1, cutoff=0.5)
    advice = f"; did you mean {near[0]!r}?" if near else ""
    return f"no such transform of torchvision's v2 (got {name!r}){advice}"
