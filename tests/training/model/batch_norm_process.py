"""One of two workers, as a process of its own: `batch_norm_process.py RANK FOLDER`.

Passes its share of each case's batches through the shared batch normalisation, and writes what
it found to `FOLDER/RANK.pt`; `alone.pt` is the same by one worker and torch's own layer.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from orchestrator.training.model.small_cnn import SmallCNN
from orchestrator.training.model.sync_batch_norm import convert_batch_norm

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """One layer, and batches of which the first worker has some images."""

    name: str
    layer: nn.Module
    batches: tuple[Tensor, ...]
    first: tuple[int, ...]
    """Images of the first worker in each batch."""


def make_cases() -> Iterator[Case]:
    """Every kind of layer, always with the same numbers; the mean is far from 0."""
    torch.manual_seed(0)
    equal, unequal = (64, 64, 64), (64, 64, 37)
    for dtype in (torch.float32, torch.float64):
        for count in (equal, unequal):
            name = f"{str(dtype)[6:]}-{count[-1]}"
            yield _case(name, nn.BatchNorm2d(6), count, (5, 4), dtype)
    half = torch.float64
    yield _case("1d", nn.BatchNorm1d(6), unequal, (), half)
    yield _case("1d-long", nn.BatchNorm1d(6), unequal, (7,), half)
    yield _case("3d", nn.BatchNorm3d(6), unequal, (2, 3, 2), half)
    yield _case("not-affine", nn.BatchNorm2d(6, affine=False), unequal, (3, 3), half)
    yield _case("no-momentum", nn.BatchNorm2d(6, momentum=None), unequal, (3, 3), half)
    untracked = nn.BatchNorm2d(6, track_running_stats=False)
    yield _case("untracked", untracked, unequal, (3, 3), half)
    yield _case("frozen", nn.BatchNorm2d(6).eval(), unequal, (3, 3), half)
    yield _case("empty-share", nn.BatchNorm2d(6), (5, 5, 5), (3, 3), half, first=(5, 0, 2))
    yield _case("bfloat16", nn.BatchNorm2d(6), unequal, (9, 9), torch.bfloat16)
    if find_spec("timm"):
        from timm.layers import BatchNormAct2d

        yield _case("timm", BatchNormAct2d(6, drop_layer=Halve), unequal, (3, 3), half)


class Halve(nn.Module):
    """Stands where timm's networks drop out, and can be seen."""

    def forward(self, images: Tensor) -> Tensor:
        """A half of it."""
        return images / 2


def _case(
    name: str,
    layer: nn.Module,
    counts: tuple[int, ...],
    size: tuple[int, ...],
    dtype: torch.dtype,
    first: tuple[int, ...] = (),
) -> Case:
    batches = tuple((torch.randn(count, 6, *size, dtype=torch.float64) + 3) for count in counts)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    shares = first or tuple((count + 1) // 2 for count in counts)
    # In half precision the parameters stay float32, as under autocast.
    layer = layer.double() if dtype == torch.float64 else layer.float()
    return Case(name, layer, tuple(batch.to(dtype) for batch in batches), shares)


def pass_batches(case: Case, rank: int | None) -> dict[str, Any]:
    """Forward and backward of a weighted sum; None is one worker with the whole batches."""
    torch.manual_seed(1)
    layer = case.layer if rank is None else convert_batch_norm(case.layer, CPU)
    outputs, gradients = [], []
    for batch, first in zip(case.batches, case.first, strict=True):
        factors = torch.randn(batch.shape, dtype=torch.float64).to(batch.dtype)
        share = slice(None) if rank is None else [slice(first), slice(first, None)][rank]
        images = batch[share].clone().requires_grad_()
        output = layer(images)
        (output * factors[share]).sum().backward()
        outputs.append(output.detach())
        gradients.append(images.grad)
    # Gradients of parameters are summed over batches here, and over workers by the test.
    return {
        "type": type(layer).__name__,
        "outputs": outputs,
        "gradients": gradients,
        "parameters": {name: value.grad for name, value in layer.named_parameters()},
        "state": layer.state_dict(),
    }


def train_network(rank: int | None) -> dict[str, Any]:
    """Four steps of the small network in float64, the last of them on 37 images."""
    torch.manual_seed(2)
    model: nn.Module = SmallCNN(channels=1, num_classes=10).double()
    replica = model
    if rank is not None:
        model = convert_batch_norm(model, CPU)
        replica = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for count in (64, 64, 64, 37):
        images = torch.randn(count, 1, 8, 8, dtype=torch.float64) + 3
        labels = torch.randint(10, (count,))
        middle = (count + 1) // 2
        share = slice(None) if rank is None else [slice(middle), slice(middle, None)][rank]
        total = functional.cross_entropy(replica(images[share]), labels[share], reduction="sum")
        optimizer.zero_grad()
        (total * (1 if rank is None else 2) / count).backward()
        optimizer.step()
    return {"state": model.state_dict()}


def convert_network(device: str, kind: type[nn.Module] = nn.BatchNorm2d) -> dict[str, Any]:
    """What becomes of two normalisations, of which the second is frozen."""
    inner = nn.Sequential(kind(4), kind(4).eval())
    model = nn.Sequential(nn.Conv2d(3, 4, 1), inner)
    before = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    convert_batch_norm(model, torch.device(device))
    after = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    return {
        "types": [type(layer).__name__ for layer in inner],
        "training": [layer.training for layer in inner],
        "activations": [[type(part).__name__ for part in layer.children()] for layer in inner],
        "same tensors": list(before.items()) == list(after.items()),
    }


def too_few_values() -> str:
    """What is said of one value per channel in all of the batch."""
    rank = distributed.get_rank()
    layer = convert_batch_norm(nn.BatchNorm1d(6), CPU)
    try:
        layer(torch.ones(1 - rank, 6))
    except ValueError as error:
        return str(error)
    return ""


def main() -> None:
    """Find the peer, do all of it, write it down."""
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    alone = {case.name: pass_batches(case, None) for case in make_cases()}
    alone["network"] = train_network(None)
    distributed.init_process_group(
        "gloo", init_method=(folder / "meet").as_uri(), rank=rank, world_size=2
    )
    found: dict[str, Any] = {case.name: pass_batches(case, rank) for case in make_cases()}
    found["network"] = train_network(rank)
    found["conversion"] = {device: convert_network(device) for device in ("cpu", "cuda")}
    if find_spec("timm"):
        from timm.layers import BatchNormAct2d

        found["timm on cuda"] = convert_network("cuda", BatchNormAct2d)
    found["too few"] = too_few_values()
    torch.save(found, folder / f"{rank}.pt")
    if rank == 0:
        torch.save(alone, folder / "alone.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
    # All is written. Threads of gloo that outlive the interpreter now and then abort its end.
    os._exit(0)
