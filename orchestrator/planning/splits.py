"""Which samples are trained on, validated on and tested on, where the data does not say.

A cut depends on the samples' names, labels and groups alone, never on a run's seed: runs of all
seeds are judged by the same images, and so are the runs of next year. Each sample's place comes
from a hash of its name, so that a file more moves hardly any other.

Standard library alone: planning counts the parts, training reads them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

PARTS: Final = ("train", "val", "test")

Positions = tuple[int, ...]


def cut_parts(
    names: Sequence[str],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    val_share: float,
    test_share: float,
) -> dict[str, Positions]:
    """Cut samples into training, validation and test part, each class in proportion.

    Args:
        names: The samples' names, all different.
        labels: Their class indices.
        groups: What belongs together and must not be torn apart; "" for a sample on its own.
        val_share: Share to validate on, 0 <= share < 1.
        test_share: Share to test on.

    Returns:
        Positions of each part's samples, ascending, under `train`, `val` and `test`.
    """
    if any(groups):
        parts = _cut_groups(names, labels, groups, shares=(val_share, test_share))
    else:
        parts = _cut_samples(names, labels, shares=(val_share, test_share))
    return {part: tuple(sorted(parts[part])) for part in PARTS}


def _cut_samples(
    names: Sequence[str], labels: Sequence[int], *, shares: tuple[float, float]
) -> dict[str, list[int]]:
    members: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    for position, (name, label) in enumerate(zip(names, labels, strict=True)):
        members[label].append((_place(name), position))
    # A sample's rank within its class, as a fraction of the class: sorted by it the classes
    # interleave in proportion, and a prefix of any length is stratified.
    queue = []
    for own in members.values():
        own.sort()
        for rank, (place, position) in enumerate(own):
            queue.append(((rank + 0.5) / len(own), place, position))
    order = [position for _, _, position in sorted(queue)]
    val, test = (round(share * len(names)) for share in shares)
    return {"val": order[:val], "test": order[val : val + test], "train": order[val + test :]}


def _cut_groups(
    names: Sequence[str],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    shares: tuple[float, float],
) -> dict[str, list[int]]:
    """Give group after group, the largest first, to the part that lacks most of its classes."""
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        # A file name holds no NUL: a sample on its own is a group that no other one can name.
        members[group or f"\0{names[position]}"].append(position)
    totals: dict[int, int] = defaultdict(int)
    for label in labels:
        totals[label] += 1
    wanted = {"train": 1 - sum(shares), "val": shares[0], "test": shares[1]}
    wanted = {part: share for part, share in wanted.items() if share > 0}
    have: dict[str, dict[int, int]] = {part: defaultdict(int) for part in wanted}
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    largest_first = sorted(members.items(), key=lambda item: (-len(item[1]), _place(item[0])))
    for _, positions in largest_first:
        part = max(
            wanted,
            key=lambda part: sum(
                1 - have[part][labels[p]] / (wanted[part] * totals[labels[p]])
                for p in positions
            ),
        )
        parts[part] += positions
        for position in positions:
            have[part][labels[position]] += 1
    return parts


def _place(name: str) -> bytes:
    text = name.encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()
