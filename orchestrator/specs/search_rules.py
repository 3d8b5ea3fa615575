"""What must hold between key `search` and the spaces of an experiment."""

import math
from collections.abc import Iterator, Mapping

from orchestrator.specs.mistakes import value_text
from orchestrator.specs.search import (
    Choice,
    Grid,
    RandInt,
    Scalar,
    SearchSpec,
    Space,
    confounded_reason,
)
from orchestrator.specs.validation import Issue

Spaces = Mapping[str, Space]

_NOTHING = "there is nothing to search; seeds and metric need no search space, this does"


def check_search(search: SearchSpec, spaces: Spaces) -> Iterator[Issue]:
    """Yield what contradicts the spaces; `search.baseline` is looked at elsewhere."""
    if not spaces:
        for name in ("algorithm", "num_trials"):
            if getattr(search, name) is not None:
                yield Issue(f"search.{name}", _NOTHING)
        return
    reason = confounded_reason(spaces, search.metric)
    if reason and not search.allow_confounded_metric:
        advice = "use val/accuracy, or set search.allow_confounded_metric: true"
        yield Issue("search.metric", f"{reason}; {advice}")
    if only_grids(spaces):
        yield from _check_grid_search(search, spaces)
    else:
        yield from _check_random_search(search, spaces)


def only_grids(spaces: Spaces) -> bool:
    """Say whether every space is a grid."""
    return all(isinstance(space, Grid) for space in spaces.values())


def count_combinations(spaces: Spaces) -> int:
    """Count the combinations of the grids."""
    return math.prod(len(space.values) for space in spaces.values() if isinstance(space, Grid))


def _check_grid_search(search: SearchSpec, spaces: Spaces) -> Iterator[Issue]:
    if search.algorithm == "random":
        text = "every space is a grid, so nothing is drawn; use grid here, or choice there"
        yield Issue("search.algorithm", text)
    if search.num_trials is not None:
        count = count_combinations(spaces)
        text = f"grids multiply to {count} settings (got {search.num_trials}); leave it out"
        yield Issue("search.num_trials", text)


def _check_random_search(search: SearchSpec, spaces: Spaces) -> Iterator[Issue]:
    if search.algorithm != "random":
        for key, space in spaces.items():
            if not isinstance(space, Grid):
                word = type(space).__name__.lower()
                yield Issue(key, f"{word} is drawn at random; set search.algorithm: random")
        return
    if search.num_trials is None:
        text = "required key is missing; random needs to know how many settings to train"
        yield Issue("search.num_trials", text)
        return
    count, most = count_combinations(spaces), _most_settings(spaces)
    if search.num_trials % count:
        text = f"must be a multiple of {count}, the number of combinations of the grids"
        yield Issue("search.num_trials", f"{text} (got {search.num_trials})")
    elif most is not None and search.num_trials > most:
        text = f"the spaces hold only {most} different settings (got {search.num_trials})"
        yield Issue("search.num_trials", text)


def _most_settings(spaces: Spaces) -> int | None:
    """Count the settings that there are, None where a space is continuous."""
    sizes = []
    for space in spaces.values():
        if isinstance(space, Grid | Choice):
            sizes.append(len(space.values))
        elif isinstance(space, RandInt):
            sizes.append(space.high - space.low + 1)
        else:
            return None
    return math.prod(sizes)


def resolve_baseline(
    baseline: Mapping[str, Scalar] | None, spaces: Spaces
) -> tuple[dict[str, Scalar], tuple[Issue, ...]]:
    """Name the baseline's keys in full, in the order of the spaces.

    Returns:
        Dotted key to value, empty where no baseline is given; and what is wrong with it.
    """
    if baseline is not None and not spaces:
        return {}, (Issue("search.baseline", _NOTHING),)
    if baseline is None:
        if only_grids(spaces):
            return {}, ()
        text = "required key is missing; without grids alone there is no first setting"
        return {}, (Issue("search.baseline", text),)
    issues: list[Issue] = []
    named: dict[str, Scalar] = {}
    for name, value in baseline.items():
        meant = [key for key in spaces if name in (key, key.rpartition(".")[2])]
        wrong = _explain_name(meant, spaces, named)
        if wrong:
            issues.append(Issue(f"search.baseline.{name}", wrong))
        else:
            named[meant[0]] = value
    missing = [key for key in spaces if key not in named]
    if missing and not issues:
        issues.append(Issue("search.baseline", f"needs a value for {', '.join(missing)}"))
    return {key: named[key] for key in spaces if key in named}, tuple(issues)


def _explain_name(meant: list[str], spaces: Spaces, named: Mapping[str, Scalar]) -> str:
    if not meant:
        return f"is not searched; searched keys are {', '.join(spaces)}"
    if len(meant) > 1:
        return f"could be {' or '.join(meant)}; write it in full"
    return f"{meant[0]} is set twice" if meant[0] in named else ""


def explain_not_in_grid(key: str, value: Scalar, spaces: Spaces) -> tuple[str, ...]:
    """Say what keeps a baseline's value from being one of the settings of a grid search."""
    space = spaces[key]
    if not isinstance(space, Grid) or not only_grids(spaces) or _holds(space, value):
        return ()
    listed = ", ".join(map(value_text, space.values))
    return (f"must be one of the grid's {listed} (got {value_text(value)})",)


def _holds(grid: Grid, value: Scalar) -> bool:
    return any(
        value == held and isinstance(value, bool) is isinstance(held, bool)
        for held in grid.values
    )
