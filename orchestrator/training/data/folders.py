"""Data sets `image_folder` and `table`: files that a manifest lists."""

import os
from collections.abc import Sequence

import torch

from orchestrator.errors import SpecError, TrainingError
from orchestrator.planning.manifest import Manifest, scan_image_folder, split_manifest
from orchestrator.planning.section_plans import DataPlan
from orchestrator.planning.table import scan_table
from orchestrator.training.data.raw_set import RawPart, RawSet

SCANS = {"image_folder": scan_image_folder, "table": scan_table}


def load_files(plan: DataPlan, root: str, parts: Sequence[str]) -> RawSet:
    """The files as they lie, in the parts that the plan's shares cut.

    Args:
        plan: Key `data`, decided.
        root: Folder of `image_folder`, CSV file of `table`.
        parts: Parts that are wanted.

    Raises:
        TrainingError: They are not the files that were planned with, or no data set at all.
    """
    try:
        manifest = SCANS[plan.dataset](root)
        positions = split_manifest(manifest, plan.val_share, plan.test_share)
    except SpecError as error:
        raise TrainingError(str(error)) from error
    if plan.manifest and manifest.digest != plan.manifest:
        raise TrainingError(
            f"data.root: the files in {root} are no longer those that were planned with "
            f"({len(manifest.entries)} images now); plan anew"
        )
    return RawSet(
        manifest.classes, {part: _build_part(manifest, positions[part]) for part in parts}
    )


def _build_part(manifest: Manifest, positions: Sequence[int]) -> RawPart:
    entries = [manifest.entries[position] for position in positions]
    return RawPart(
        # Joined, not glued: a table may name a file by its absolute path.
        images=tuple(os.path.join(manifest.root, entry.path) for entry in entries),  # noqa: PTH118  a Path each takes seconds
        labels=torch.tensor([entry.label for entry in entries], dtype=torch.int64),
        ids=torch.tensor(positions, dtype=torch.int64),
        rows=torch.arange(len(positions)),
    )
