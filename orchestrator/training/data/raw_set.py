"""A data set as it comes, before classes are chosen: labels known, pixels not yet read.

Files are decoded only once it is clear which of them are wanted, so that three classes of a
thousand cost three classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.planning.splits import cut_parts
from orchestrator.training.data.image_set import Pixels


@dataclass(frozen=True, eq=False)
class RawPart:
    """Training, validation or test part of a data set; `images` is one of the two."""

    images: Pixels | tuple[str, ...]
    """Pixels, or absolute paths of files."""
    labels: Tensor
    """int64, shape (N,)."""
    ids: Tensor
    """int64, shape (N,): numbers in the whole data set."""
    rows: Tensor
    """int64, shape (N,): each sample's place among the images."""

    def select(self, positions: Tensor) -> "RawPart":
        """The samples at these positions, in this order; `positions` int64, shape (M,)."""
        return RawPart(
            self.images, self.labels[positions], self.ids[positions], self.rows[positions]
        )


@dataclass(frozen=True, eq=False)
class RawSet:
    """A data set as it comes."""

    classes: tuple[str, ...]
    parts: Mapping[str, RawPart]
    """Those asked for among `train`, `val` and `test`."""


def raw_part(
    images: Pixels | tuple[str, ...], labels: Tensor | Sequence[int], *, first_id: int = 0
) -> RawPart:
    """All images in their order, numbered from `first_id`."""
    count = len(images)
    assert len(labels) == count, (len(labels), count)
    rows = torch.arange(count)
    return RawPart(images, torch.as_tensor(labels, dtype=torch.int64), rows + first_id, rows)


def cut_part(part: RawPart, *, val_share: float, test_share: float) -> dict[str, RawPart]:
    """One part cut in up to three, each class in proportion, the same for every seed."""
    cut = cut_parts(
        [str(number) for number in part.ids.tolist()],
        part.labels.tolist(),
        [""] * len(part.labels),
        val_share=val_share,
        test_share=test_share,
    )
    return {
        name: part.select(torch.tensor(positions, dtype=torch.int64))
        for name, positions in cut.items()
    }
