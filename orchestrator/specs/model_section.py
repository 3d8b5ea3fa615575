"""Key `model`: the network, and the weights that it starts from."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from orchestrator.specs.names import ARCHITECTURES
from orchestrator.specs.section import (
    LISTED,
    OWN_CODE,
    Arguments,
    Finding,
    Section,
    name_of,
    name_schema,
    refuse,
)


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise refuse(f"is no regular expression: {error} (got {text!r})") from error
    return text


Regex = Annotated[str, AfterValidator(_regex)]


def _file_and_key(text: str) -> str:
    file, _, key = text.rpartition(":")
    if not file.endswith(".safetensors") or not key:
        raise refuse(f"must be FILE.safetensors:KEY (got {text!r})")
    return text


class TensorRule(Section):
    """Parameters that are set to a tensor of a file."""

    match: Regex
    """Regular expression searched for in the parameters' names."""
    tensor: Annotated[str, AfterValidator(_file_and_key)]
    """File and key, `FILE.safetensors:KEY`, the file relative to the YAML file."""


class ModelSpec(Section):
    """Key `model`: the network; its head always has one output per class."""

    architecture: Annotated[
        str,
        name_of("model.architecture", ARCHITECTURES, other="timm/"),
        WithJsonSchema(name_schema(ARCHITECTURES, other="timm/")),
    ]
    """Name of the network: `small_cnn` for small images, one of torchvision's, such as
    `resnet18`, `timm/NAME` with the optional package timm, or one's own `module:callable`."""
    arguments: Arguments = Field(default_factory=dict)
    """Further arguments of the network by name, such as {dropout: 0.1}."""
    head: Literal["linear", "gap"] = "linear"
    """What classifies: the network's own layers (`linear`), or global average pooling and one
    linear layer in place of fully connected ones, as in VGG and AlexNet (`gap`).
    Source: Lin et al. 2014, arXiv:1312.4400."""
    weights: str | None = None
    """Weights to start from: torchvision's name, such as `DEFAULT` or `IMAGENET1K_V1`, a
    .safetensors or .pth file relative to the YAML file, or `run:RUN`, a run of ours.
    Unset: random ones."""
    strict: bool = False
    """Whether every tensor of the file and of the network must match (true or false); else what
    matches is loaded and the rest reported."""
    min_loaded: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    """Least share of the network's parameters, without the head where its shape differs, that
    the weights must bring (dimensionless, 0 to 1)."""
    initialization: Literal["default", "kaiming", "zero_last_bn"] = "default"
    """Random weights: the network's own (`default`), `kaiming` (convolutions by fan-out, batch
    normalisation 1 and 0, linear layers Xavier, biases 0; arXiv:1502.01852), or
    `zero_last_bn`, the last batch normalisation of each residual branch at 0
    (arXiv:1706.02677)."""
    rules: Annotated[tuple[TensorRule, ...], LISTED] = ()
    """Parameters set to given tensors, after everything else: a list of {match, tensor}."""
    sync_batch_norm: bool = False
    """Whether batch normalisation takes its statistics over the workers' whole batch (true or
    false)."""
    channels_last: bool = False
    """Whether images and convolutions lie in memory channel by channel of a pixel (true or
    false): faster with bfloat16, the last digits may differ."""

    def list_contradictions(self) -> Iterator[Finding]:
        """Yield what no setting may hold."""
        ours = self.architecture == "small_cnn" or OWN_CODE.fullmatch(self.architecture)
        if ours and self.weights is not None and is_torchvision_weights(self.weights):
            text = f"torchvision has none for {self.architecture} (got {self.weights!r})"
            yield "weights", f"{text}; name a file or run:RUN"

    def list_idle(self) -> Iterator[Finding]:
        """Yield keys that another key's value leaves without a meaning."""
        if self.architecture == "small_cnn":
            if self.arguments:
                yield "arguments", "small_cnn takes no arguments; leave them out"
            if self.head == "gap":
                yield "head", "small_cnn has that head already; leave it out"
        if self.weights is None:
            for key in ("strict", "min_loaded"):
                if self.differs(key):
                    yield key, "belongs to model.weights, which is not set"


def is_torchvision_weights(source: str) -> bool:
    """Say whether weights are meant by torchvision's name of them."""
    return re.fullmatch(r"DEFAULT|([A-Za-z]\w*_Weights\.)?[A-Z][A-Z0-9_]*", source) is not None
