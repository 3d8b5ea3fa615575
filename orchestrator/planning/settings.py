"""Which settings a search trains: grids multiplied, the rest drawn from the spec's seed."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping

from orchestrator.errors import SpecError
from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.search import Choice, Grid, LogUniform, RandInt, Scalar, Space, Uniform

_DRAWS_PER_SETTING = 1000
"""Tries for a point that was not drawn before, until the space is taken to be exhausted."""

Setting = dict[str, Scalar]


def enumerate_settings(spec: ExperimentSpec) -> list[Setting]:
    """Every setting of a search, in order; one empty setting where nothing is searched.

    Drawn points are all different and depend on the seed and the spaces alone. A baseline that
    is none of them comes first.

    Raises:
        SpecError: The spaces hold fewer different points than `search.num_trials` asks for.
    """
    grids = {key: space for key, space in spec.spaces.items() if isinstance(space, Grid)}
    combinations = [
        dict(zip(grids, values, strict=True))
        for values in itertools.product(*(space.values for space in grids.values()))
    ]
    drawn_spaces = {key: space for key, space in spec.spaces.items() if key not in grids}
    points: list[Setting] = [{}]
    if drawn_spaces:
        wanted = (spec.keys.search.num_trials or 0) // len(combinations)
        where = spec.place_of("search.num_trials")
        points = _draw_points(drawn_spaces, wanted, seed=spec.keys.seed, where=where)
    # Keys in the order of the file, whichever kind of space they have.
    settings = [
        {key: {**combination, **point}[key] for key in spec.spaces}
        for point in points
        for combination in combinations
    ]
    baseline = choose_baseline(spec)
    if baseline is not None and baseline not in settings:
        settings.insert(0, baseline)
    return settings


def choose_baseline(spec: ExperimentSpec) -> Setting | None:
    """The setting that all others are compared with; None where nothing is searched."""
    if not spec.spaces:
        return None
    given = spec.keys.search.baseline
    if given is None:
        return {
            key: space.values[0]
            for key, space in spec.spaces.items()
            if isinstance(space, Grid)
        }
    return {
        key: next(v for name, v in given.items() if name in (key, key.rpartition(".")[2]))
        for key in spec.spaces
    }


def _draw_points(
    spaces: Mapping[str, Space], wanted: int, *, seed: int, where: str
) -> list[Setting]:
    points: list[Setting] = []
    for point in itertools.islice(_draw(spaces, seed=seed), wanted * _DRAWS_PER_SETTING):
        if point not in points:
            points.append(point)
        if len(points) == wanted:
            return points
    raise SpecError(
        [
            f"{where}: search.num_trials: the spaces hold no more than {len(points)} "
            f"different points to draw (asked for {wanted})"
        ]
    )


def _draw(spaces: Mapping[str, Space], *, seed: int) -> Iterator[Setting]:
    streams = {key: random.Random(f"{seed}/search/{key}") for key in spaces}
    while True:
        yield {key: _draw_value(space, streams[key]) for key, space in spaces.items()}


def _draw_value(space: Space, stream: random.Random) -> Scalar:
    match space:
        case Grid(values) | Choice(values):
            return stream.choice(values)
        case RandInt(low, high):
            return stream.randint(low, high)
        case Uniform(low, high):
            return stream.uniform(low, high)
        case LogUniform(low, high):
            # exp(log(x)) may leave the range by one rounding.
            drawn = math.exp(stream.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
