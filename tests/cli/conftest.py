"""Folders of small images, and an empty folder to type commands in."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

WriteImages = Callable[..., Path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder with a cache of its own; the process is left as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("ORCHESTRATOR_STORAGE", raising=False)
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture
def write_images(here: Path) -> WriteImages:
    """Writes noise, so many images per class; sides drawn from `low` to `high` pixels."""

    def write(
        counts: Mapping[str, int],
        *,
        root: str = "photos",
        low: int = 8,
        high: int = 40,
        extension: str = "png",
    ) -> Path:
        generator = np.random.default_rng(0)
        for name, count in counts.items():
            folder = here / root / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                height, width = generator.integers(low, high + 1, 2)
                pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.{extension}")
        return here / root

    return write
