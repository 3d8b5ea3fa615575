"""Which settings a search trains."""

from collections.abc import Callable
from math import nextafter
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.planning.settings import choose_baseline, enumerate_settings
from orchestrator.specs.experiment import ExperimentSpec

MakeSpec = Callable[..., ExperimentSpec]

SMOOTHING, LR, DECAY = "loss.label_smoothing", "optimizer.lr", "optimizer.weight_decay"


def test_without_a_space_there_is_one_empty_setting(make_spec: MakeSpec) -> None:
    """And nothing to compare it with."""
    spec = make_spec()

    assert enumerate_settings(spec) == [{}]
    assert choose_baseline(spec) is None


def test_grids_are_multiplied_in_the_order_of_the_file(make_spec: MakeSpec) -> None:
    """The last key moves fastest; the first values are the baseline."""
    spec = make_spec(
        loss={"label_smoothing": {"grid": [0, 0.1]}}, optimizer={"lr": {"grid": [1, 0.5, 0.2]}}
    )

    settings = enumerate_settings(spec)

    assert [tuple(setting.values()) for setting in settings] == [
        (0.0, 1.0),
        (0.0, 0.5),
        (0.0, 0.2),
        (0.1, 1.0),
        (0.1, 0.5),
        (0.1, 0.2),
    ]
    assert [list(setting) for setting in settings] == [[SMOOTHING, LR]] * 6
    assert choose_baseline(spec) == {SMOOTHING: 0.0, LR: 1.0}


def draw(make_spec: MakeSpec, space: dict[str, list[float]], trials: int, seed: int = 0) -> Any:
    """Values of `optimizer.lr` drawn from a space, without the baseline, which comes first."""
    spec = make_spec(
        seed=seed,
        optimizer={"lr": space},
        search={"algorithm": "random", "num_trials": trials, "baseline": {"lr": 0.4321}},
    )
    settings = enumerate_settings(spec)
    assert settings[0] == {LR: 0.4321}
    return [setting[LR] for setting in settings[1:]]


def test_draws_depend_on_the_seed_alone(make_spec: MakeSpec) -> None:
    """The same seed draws the same points, another seed others; more trials only add some."""
    space = {"uniform": [0.1, 0.9]}

    few, many = draw(make_spec, space, 5), draw(make_spec, space, 8)

    assert many[:5] == few
    assert len(set(many)) == 8
    assert draw(make_spec, space, 5, seed=1) != few


def test_draws_stay_in_their_range(make_spec: MakeSpec) -> None:
    """Uniform and log-uniform alike; of the latter half lies below the geometric mean."""
    uniform = draw(make_spec, {"uniform": [0.1, 0.9]}, 100)
    log = draw(make_spec, {"loguniform": [0.001, 0.9]}, 100)

    assert all(0.1 <= value <= 0.9 for value in uniform)
    assert all(0.001 <= value <= 0.9 for value in log)
    # Both counts are binomial(100, 1/2); 30 to 70 holds but once in 10,000 seeds.
    assert 30 < sum(value < 0.5 for value in uniform) < 70
    assert 30 < sum(value < 0.03 for value in log) < 70


def test_a_random_whole_number_may_be_either_end(make_spec: MakeSpec) -> None:
    """From 1 to 3 there are three numbers, and three trials find them all."""
    spec = make_spec(
        training={"epochs": {"randint": [1, 3]}},
        search={"algorithm": "random", "num_trials": 3, "baseline": {"epochs": 2}},
    )

    settings = enumerate_settings(spec)

    assert {setting["training.epochs"] for setting in settings} == {1, 2, 3}
    assert len(settings) == 3


def test_a_space_that_holds_too_few_points_is_refused(make_spec: MakeSpec) -> None:
    """Between a tenth and the next float there is none: two values cannot be three trials."""
    spec = make_spec(
        optimizer={"lr": {"uniform": [0.1, nextafter(0.1, 1)]}},
        search={"algorithm": "random", "num_trials": 3, "baseline": {"lr": 0.1}},
    )

    with pytest.raises(SpecError) as caught:
        enumerate_settings(spec)

    assert str(caught.value) == (
        "<dict>: search.num_trials: the spaces hold no more than 2 different points to draw "
        "(asked for 3)"
    )


def test_grids_are_multiplied_with_what_is_drawn(make_spec: MakeSpec) -> None:
    """Six trials of a grid of two are three draws, each with both values of the grid."""
    spec = make_spec(
        loss={"label_smoothing": {"grid": [0, 0.1]}},
        optimizer={"lr": {"uniform": [0.1, 0.9]}},
        search={
            "algorithm": "random",
            "num_trials": 6,
            "baseline": {"label_smoothing": 0, "lr": 0.5},
        },
    )

    settings = enumerate_settings(spec)

    assert settings[0] == {SMOOTHING: 0.0, LR: 0.5}
    assert [setting[SMOOTHING] for setting in settings[1:]] == [0.0, 0.1] * 3
    drawn = [setting[LR] for setting in settings[1:]]
    assert drawn[0::2] == drawn[1::2]
    assert len(set(drawn)) == 3


def test_a_baseline_of_the_grid_keeps_its_place(make_spec: MakeSpec) -> None:
    """It is trained once; it may be named by the key's last part or in full."""
    for key in ("label_smoothing", SMOOTHING):
        spec = make_spec(
            loss={"label_smoothing": {"grid": [0, 0.1, 0.2]}}, search={"baseline": {key: 0.1}}
        )

        values = [setting[SMOOTHING] for setting in enumerate_settings(spec)]

        assert values == [0.0, 0.1, 0.2]
        assert choose_baseline(spec) == {SMOOTHING: 0.1}


def test_each_key_has_a_stream_of_its_own(make_spec: MakeSpec) -> None:
    """A second space leaves the first one's draws as they were."""
    alone = draw(make_spec, {"uniform": [0.1, 0.9]}, 4)
    spec = make_spec(
        optimizer={
            "lr": {"uniform": [0.1, 0.9]},
            "weight_decay": {"loguniform": [1e-5, 1e-2]},
        },
        search={
            "algorithm": "random",
            "num_trials": 4,
            "baseline": {"lr": 0.4321, "weight_decay": 0},
        },
    )

    settings = enumerate_settings(spec)[1:]

    assert [setting[LR] for setting in settings] == alone
    assert len({setting[DECAY] for setting in settings}) == 4
