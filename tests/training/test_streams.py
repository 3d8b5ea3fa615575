"""Random streams: independent, stable over versions of this package, of named use."""

import random

import numpy as np
import torch

from orchestrator.training import streams


def test_seeds_are_the_leading_63_bits_of_a_digest() -> None:
    """As `sha256sum` prints them for `0/order/1`: no release may move a recorded number."""
    assert streams.derive_seed(0, streams.ORDER, 1) == 0x7C9B834547AC6879 >> 1
    assert streams.derive_seed(1, streams.LABEL_NOISE) == 0xF0A4091528CAE3F4 >> 1


def test_every_part_of_a_streams_place_matters() -> None:
    """Seed, name and position each lead to another stream; 1/2 is not 12."""
    places = {
        streams.derive_seed(0, "order"),
        streams.derive_seed(1, "order"),
        streams.derive_seed(0, "subset"),
        streams.derive_seed(0, "order", 1),
        streams.derive_seed(0, "order", 2),
        streams.derive_seed(0, "order", 1, 2),
        streams.derive_seed(0, "order", 12),
    }

    assert len(places) == 7


def test_names_of_streams_are_distinct() -> None:
    """No two uses of randomness share a stream."""
    names = [value for name, value in vars(streams).items() if name.isupper()]

    assert sorted(names) == ["initialization", "label_noise", "layers", "order", "subset"]


def test_a_generator_ignores_what_was_drawn_elsewhere() -> None:
    """Draws from the global generator leave a stream alone, and a stream leaves it alone."""
    first = torch.rand(4, generator=streams.stream_generator(5, "order", 1))
    before = torch.get_rng_state()
    torch.rand(3)
    torch.set_rng_state(before)
    second = torch.rand(4, generator=streams.stream_generator(5, "order", 1))

    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_global_generators_are_all_set() -> None:
    """Python's, NumPy's and torch's generators begin again, wherever they were."""

    def draw() -> tuple[float, float, float]:
        streams.seed_global_generators(7, streams.LAYERS, 1)
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    first = draw()
    random.random()
    np.random.rand(3)  # noqa: NPY002
    torch.rand(5)

    assert draw() == first
