"""Where tests of training compute: `TEST_DEVICE=cuda` runs them on the first GPU."""

import os
from typing import Final

import pytest
import torch

DEVICE: Final = torch.device(os.environ.get("TEST_DEVICE", "cpu"), 0)
CUDA: Final = DEVICE.type == "cuda"

on_cpu_alone = pytest.mark.skipif(CUDA, reason="holds a GPU against bits of a CPU")
needs_gpu = pytest.mark.skipif(not CUDA, reason="needs a GPU, and TEST_DEVICE=cuda")
