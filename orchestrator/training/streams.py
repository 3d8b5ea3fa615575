"""Named random streams, so that one use of randomness never shifts another.

Each stream is derived by hash from the run's seed and the stream's name, the order of the
samples also from the epoch. Adding dropout leaves the order as it was; another number of loader
processes changes nothing.
"""

import hashlib
import random
from typing import Final

import numpy as np
import torch

SUBSET: Final = "subset"
LABEL_NOISE: Final = "label_noise"
INITIALIZATION: Final = "initialization"
ORDER: Final = "order"
LAYERS: Final = "layers"


def derive_seed(seed: int, stream: str, *position: int) -> int:
    """A 63-bit seed for one place of one stream.

    Args:
        seed: The run's seed.
        stream: The stream's name.
        position: Where in the stream, such as the epoch.
    """
    text = "/".join([str(seed), stream, *map(str, position)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream_generator(seed: int, stream: str, *position: int) -> torch.Generator:
    """A CPU generator at one place of one stream; arguments as for `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, stream, *position))


def seed_global_generators(seed: int, stream: str, *position: int) -> None:
    """Set what libraries draw from unasked: Python's generator, NumPy's, torch's everywhere."""
    value = derive_seed(seed, stream, *position)
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002  third-party code draws from this one
    torch.manual_seed(value)
