"""What a network is made of: parameters, shapes and multiply-adds, without running it.

Shapes come from a forward on the meta device and multiply-adds from torch's own counter of
floating-point operations, so that attention and grouped convolutions count as what they do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from orchestrator.training.model.meta import copy_to_meta, meta_images

_MOST_ROWS: Final = 40


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """One layer; a layer that computes for its inner ones stands for them all."""

    name: str
    type: str
    output_shape: tuple[int, ...] | None
    """Of a batch of one image; None where evaluation does not pass, as in auxiliary heads."""
    parameters: int
    multiply_adds: int
    """For one image."""


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """A network in evaluation; plain JSON by `dataclasses.asdict`."""

    parameters: int
    trainable_parameters: int
    buffers: int
    """Elements of all buffers, such as running statistics."""
    multiply_adds: int
    """For one image."""
    layers: tuple[LayerSummary, ...]
    """In the order of the first pass; parameters and multiply-adds add up to the totals."""
    types: Mapping[str, str]
    """Class of every layer, outer ones too, by name."""
    output_shapes: Mapping[str, tuple[int, ...] | None]
    """Likewise, of those that were passed."""

    def describe(self) -> str:
        """A table of at most about 40 rows, the deeper levels folded into their parents."""
        lines = [
            f"{self.parameters:,} parameters, {self.trainable_parameters:,} of them trainable, "
            f"{self.buffers:,} elements of buffers, {self.multiply_adds / 1e6:,.1f} million "
            "multiply-adds per image"
        ]
        rows = self._fold()
        cells = [("layer", "type", "output", "parameters", "multiply-adds")]
        cells += [_cells(row) for row in rows[:_MOST_ROWS]]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            texts = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            texts[3:] = [row[3].rjust(widths[3]), row[4].rjust(widths[4])]
            lines.append("  ".join(texts).rstrip())
        if len(rows) > _MOST_ROWS:
            lines.append(f"and {len(rows) - _MOST_ROWS} more")
        return "\n".join(lines)

    def _fold(self) -> tuple[LayerSummary, ...]:
        """The deepest level with few enough rows, the first level if there is none."""
        depth = max((row.name.count(".") + 1 for row in self.layers), default=1)
        rows = self.layers
        while len(rows) > _MOST_ROWS and depth > 1:
            depth -= 1
            rows = self._fold_below(depth)
        return rows

    def _fold_below(self, depth: int) -> tuple[LayerSummary, ...]:
        folded: dict[str, LayerSummary] = {}
        for row in self.layers:
            name = ".".join(row.name.split(".")[:depth])
            so_far = folded.get(name)
            folded[name] = LayerSummary(
                name=name,
                type=self.types[name],
                output_shape=self.output_shapes.get(name),
                parameters=row.parameters + (so_far.parameters if so_far else 0),
                multiply_adds=row.multiply_adds + (so_far.multiply_adds if so_far else 0),
            )
        return tuple(folded.values())


def summarize_model(model: nn.Module, channels: int, image_size: int) -> ModelSummary:
    """Describe a network as it evaluates one image.

    It is followed on the meta device; a network of the user's own that cannot live there is
    run, on the CPU, on a black image.

    Args:
        model: The network, on any device; left as it is.
        channels: Channels of its images.
        image_size: Their height and width in pixels.
    """
    try:
        recorder = _follow(copy_to_meta(model), meta_images(channels, image_size, count=1))
    except Exception:  # noqa: BLE001  the user's code raises what it likes without values
        training = model.training
        recorder = _follow(model, torch.zeros(1, channels, image_size, image_size))
        model.train(training)
    parameters = list(model.parameters())
    return ModelSummary(
        parameters=sum(value.numel() for value in parameters),
        trainable_parameters=sum(value.numel() for value in parameters if value.requires_grad),
        buffers=sum(value.numel() for value in model.buffers()),
        multiply_adds=recorder.total,
        layers=tuple(recorder.rows()),
        types={name: type(layer).__name__ for name, layer in model.named_modules()},
        output_shapes={
            recorder.names[layer]: shape for layer, shape in recorder.shapes.items()
        },
    )


class _Recorder:
    """Notes of every layer's passes: output shape, and the operations that are its own."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode) -> None:
        self.model = model
        self.counter = counter
        self.total = 0
        self.names = {layer: name for name, layer in model.named_modules()}
        self.shapes: dict[nn.Module, tuple[int, ...] | None] = {}
        self.own: dict[nn.Module, int] = {}
        self.open: list[tuple[int, int]] = []
        """For each pass that is under way, operations when it began and those of inner ones."""

    def enter(self, layer: nn.Module, _inputs: Any) -> None:  # noqa: ANN401
        # Kept from the first pass on, so that rows come in that order.
        self.own.setdefault(layer, 0)
        self.open.append((self.counter.get_total_flops(), 0))

    def leave(self, layer: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401
        began, inner = self.open.pop()
        passed = self.counter.get_total_flops() - began
        self.own[layer] += (passed - inner) // 2
        self.shapes[layer] = tuple(output.shape) if isinstance(output, Tensor) else None
        if self.open:
            outer_began, outer_inner = self.open[-1]
            self.open[-1] = (outer_began, outer_inner + passed)
        else:
            self.total = passed // 2

    def rows(self) -> list[LayerSummary]:
        """A row for each layer with parameters or operations of its own, or nothing inside."""
        counted: set[int] = set()
        rows = []
        for layer in self.own:
            passed_inside = any(inner in self.own for inner in layer.children())
            unpassed = [inner for inner in layer.children() if inner not in self.own]
            values = list(layer.parameters(recurse=not passed_inside))
            if not passed_inside or self.own[layer] or values:
                rows.append(self._row(layer, values, counted))
            if passed_inside:
                rows += [
                    self._row(inner, list(inner.parameters()), counted)
                    for inner in unpassed
                    if any(True for _ in inner.parameters())
                ]
        return rows

    def _row(
        self, layer: nn.Module, values: list[nn.Parameter], counted: set[int]
    ) -> LayerSummary:
        new = [value for value in values if id(value) not in counted]
        counted.update(id(value) for value in new)
        return LayerSummary(
            name=self.names[layer],
            type=type(layer).__name__,
            output_shape=self.shapes.get(layer),
            parameters=sum(value.numel() for value in new),
            multiply_adds=self.own.get(layer, 0),
        )


def _follow(model: nn.Module, images: Tensor) -> _Recorder:
    model.eval()
    counter = FlopCounterMode(display=False)
    recorder = _Recorder(model, counter)
    handles: list[RemovableHandle] = []
    for layer in model.modules():
        handles.append(layer.register_forward_pre_hook(recorder.enter))
        handles.append(layer.register_forward_hook(recorder.leave))
    # Its one operator for a whole encoder layer is not known to the counter.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), counter:
            model(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    return recorder


def _cells(row: LayerSummary) -> tuple[str, str, str, str, str]:
    shape = "not passed" if row.output_shape is None else "×".join(map(str, row.output_shape))
    return (
        row.name or "(itself)",
        row.type,
        shape,
        f"{row.parameters:,}",
        f"{row.multiply_adds:,}",
    )
