"""Steps that change an image on its way: torchvision's v2 transforms on uint8 tensors.

uint8 is a quarter of float's memory traffic and what torchvision's kernels are fastest on; it
becomes float per batch, on the device. A few steps are several times faster as torchvision does
them on PIL images, and are given one. A step draws from torch's global generator, which is
seeded for each image by what the image is, never by who prepares it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import torch
from torch import Tensor

from orchestrator.errors import TrainingError
from orchestrator.planning.section_plans import StepPlan
from orchestrator.training.data.images import pil_to_tensor, tensor_to_pil
from orchestrator.training.own_code import is_own_code, load_callable

Step = Callable[[Any], Any]

_KEY: Final = "data.transforms"
_STILL: Final = frozenset(("Resize", "CenterCrop"))
"""Steps that leave an image of the size that they make as it is."""
_ON_PIL: Final = frozenset(
    (
        "RandomRotation",
        "RandomAffine",
        "RandomPerspective",
        "ColorJitter",
        "RandomEqualize",
        "RandAugment",
        "TrivialAugmentWide",
        "AutoAugment",
    )
)
"""Steps that are faster on a PIL image, the way there and back included: rotations fivefold."""


class Pipeline:
    """The steps of a plan, built; pickles by its plan, so that own code need not.

    Args:
        steps: What to do, in order.
        mean_pixel: The uint8 value per channel that normalisation makes 0: what is erased
            becomes this, as if it were erased after normalising.
        sources: Folder of the user's own modules.

    Raises:
        TrainingError: torchvision is missing, has no such transform, or refuses an argument.
    """

    def __init__(
        self,
        steps: Sequence[StepPlan],
        *,
        mean_pixel: tuple[int, ...] = (0,),
        sources: str = "",
    ) -> None:
        self._plan = tuple(steps)
        self._mean_pixel = mean_pixel
        self._sources = sources
        self._steps = [
            (step.name, _build_step(step, mean_pixel=mean_pixel, sources=sources))
            for step in steps
        ]
        self.draws_elsewhere = any(is_own_code(step.name) for step in steps)
        """Whether own code is among the steps, which may draw from any generator."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuilt in a loader process."""
        return _rebuild, (self._plan, self._mean_pixel, self._sources)

    def __call__(self, image: Tensor) -> Tensor:
        """Take an image through all steps.

        Args:
            image: uint8, shape (C, H, W); left as it is.

        Returns:
            uint8, shape (C, H', W').

        Raises:
            TrainingError: A step fails on the image, or returns something else.
        """
        for name, step in self._steps:
            # PIL knows grey and colour; other numbers of channels stay tensors.
            on_pil = name in _ON_PIL and len(image) in (1, 3)
            try:
                image = pil_to_tensor(step(tensor_to_pil(image))) if on_pil else step(image)
            except Exception as error:
                text = str(error).split("\n")[0]
                raise TrainingError(
                    f"{_KEY}: {name} fails ({type(error).__name__}: {text})"
                ) from error
            if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3:
                raise TrainingError(
                    f"{_KEY}: {name} returns {_describe(image)}; needs a uint8 tensor (C, H, W)"
                )
        return image

    def keeps(self, height: int, width: int) -> bool:
        """Whether the steps change nothing of any image of this size."""
        return all(
            step.name in _STILL
            and set(step.arguments) == {"size"}
            and _both(step.arguments["size"]) == (height, width)
            for step in self._plan
        )


def _rebuild(
    steps: tuple[StepPlan, ...], mean_pixel: tuple[int, ...], sources: str
) -> Pipeline:
    return Pipeline(steps, mean_pixel=mean_pixel, sources=sources)


def _build_step(step: StepPlan, *, mean_pixel: tuple[int, ...], sources: str) -> Step:
    if is_own_code(step.name):
        own = load_callable(step.name, key=_KEY, sources=sources)
        make = _find_own(own, step.arguments)
        arguments: dict[str, Any] = {}
    else:
        make = _find_transform(step.name)
        arguments = _fit_arguments(step, mean_pixel)
    try:
        built: Step = make(**arguments)
    except Exception as error:
        text = re.sub(r"^[\w.]*__init__\(\) ", "", str(error).split("\n")[0])
        raise TrainingError(f"{_KEY}: {step.name}: {text}") from error
    return built


def _find_own(own: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[[], Step]:
    """A class is made an object of; a function is given its arguments with each image."""
    if isinstance(own, type):
        return lambda: own(**arguments)
    return lambda: lambda image: own(image, **arguments)


def _find_transform(name: str) -> Callable[..., Step]:
    try:
        from torchvision.transforms import v2
    except ImportError as error:
        raise TrainingError(
            f"{_KEY}: {name} needs torchvision, which cannot be imported ({error}); "
            "install the extra 'vision'"
        ) from error
    known = {
        key: value
        for key, value in vars(v2).items()
        if isinstance(value, type) and issubclass(value, v2.Transform)
    }
    if name not in known:
        near = get_close_matches(name, known, n=1)
        advice = f"; did you mean {near[0]}?" if near else ""
        raise TrainingError(f"{_KEY}: torchvision has no transform {name!r}{advice}")
    found: Callable[..., Step] = known[name]
    return found


def _fit_arguments(step: StepPlan, mean_pixel: tuple[int, ...]) -> dict[str, Any]:
    """JSON's lists as tuples, interpolation and policy by their words, erasing by the mean."""
    from torchvision.transforms import AutoAugmentPolicy, InterpolationMode

    arguments = {name: _to_tuple(value) for name, value in step.arguments.items()}
    for key, values in (("interpolation", InterpolationMode), ("policy", AutoAugmentPolicy)):
        word = arguments.get(key)
        if isinstance(word, str):
            known = {value.value: value for value in values}
            if word.lower() not in known:
                raise TrainingError(
                    f"{_KEY}: {step.name}: no {key} {word!r}; there are {', '.join(known)}"
                )
            arguments[key] = known[word.lower()]
    if step.name == "RandomErasing":
        if arguments.get("value") == "random":
            raise TrainingError(
                f"{_KEY}: RandomErasing: value 'random' is noise around 0, which uint8 cannot "
                "hold; leave value out to erase with the mean"
            )
        arguments.setdefault("value", mean_pixel if len(mean_pixel) > 1 else mean_pixel[0])
    return arguments


def _to_tuple(value: Any) -> Any:  # noqa: ANN401  any JSON value
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value


def _both(size: Any) -> tuple[int, ...]:  # noqa: ANN401  any JSON value
    sizes = size if isinstance(size, Sequence) else [size]
    return tuple(sizes) * 2 if len(sizes) == 1 else tuple(sizes)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}".removeprefix("torch.")
    return f"a {type(value).__name__}"
