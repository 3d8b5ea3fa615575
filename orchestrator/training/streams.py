"""Named random streams, so that one use of randomness never shifts another.

Each stream is derived by hash from the run's seed and the stream's name, the order of the
samples also from the epoch. Adding dropout leaves the order as it was; another number of loader
processes changes nothing.
"""

import hashlib
import random
from collections.abc import Mapping
from typing import Any, Final

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


def read_generators(device: torch.device) -> dict[str, Any]:
    """Where the global generators of this process stand: tensors and plain values alone.

    Args:
        device: The worker's; a GPU has a generator of its own.
    """
    version, internal, gauss = random.getstate()
    numpy = dict(np.random.get_state(legacy=False))  # noqa: NPY002
    numpy["state"] = {**numpy["state"], "key": numpy["state"]["key"].tolist()}
    return {
        "python": [version, list(internal), gauss],
        "numpy": numpy,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_generators(values: Mapping[str, Any], device: torch.device) -> None:
    """Put the global generators to where `read_generators` found them."""
    version, internal, gauss = values["python"]
    random.setstate((version, tuple(internal), gauss))
    numpy = dict(values["numpy"])
    numpy["state"] = {
        **numpy["state"],
        "key": np.array(numpy["state"]["key"], dtype=np.uint32),
    }
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(values["torch"].cpu())
    if values["cuda"] is not None:
        torch.cuda.set_rng_state(values["cuda"].cpu(), device)
