"""How often a search errs, simulated: no effect at all, and an effect to be found.

Every search is a matrix of seeds by settings, the same tens of thousands in every run of the
tests. Bounds hold with a margin of at least two standard errors of the simulation.
"""

from collections.abc import Callable

import numpy as np
import pytest

from orchestrator.comparison.simultaneous import (
    FloatArray,
    compare_to_baseline,
    detectable_difference,
    dunnett_critical_value,
    prior_degrees_of_freedom,
    shrink_variances,
)

NUM_SEARCHES = 20_000

NoiseModel = Callable[[np.random.Generator, int, int], FloatArray]

# Accuracy in percent over label smoothing 0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6: covariance over ten
# paired seeds of a small network on 600 digits, 20 % of the labels redrawn at random.
DIGITS_COVARIANCE = np.array(
    [
        [1.742, 1.818, 1.511, 1.209, 1.219, 0.966, 0.832],
        [1.818, 2.162, 1.726, 1.364, 1.396, 1.182, 0.963],
        [1.511, 1.726, 1.672, 1.253, 1.283, 1.094, 0.847],
        [1.209, 1.364, 1.253, 1.012, 1.014, 0.860, 0.722],
        [1.219, 1.396, 1.283, 1.014, 1.109, 0.922, 0.752],
        [0.966, 1.182, 1.094, 0.860, 0.922, 0.931, 0.686],
        [0.832, 0.963, 0.847, 0.722, 0.752, 0.686, 0.611],
    ]
)


def equal_spreads(rng: np.random.Generator, seeds: int, settings: int) -> FloatArray:
    """An effect of the seed that all settings share, and noise of standard deviation 1."""
    shared = rng.normal(size=(NUM_SEARCHES, seeds, 1))
    return shared + rng.normal(size=(NUM_SEARCHES, seeds, settings))


def falling_spreads(rng: np.random.Generator, seeds: int, settings: int) -> FloatArray:
    """The same with standard deviations from 1.3, the baseline's, down to 0.8."""
    shared = rng.normal(size=(NUM_SEARCHES, seeds, 1))
    own = rng.normal(size=(NUM_SEARCHES, seeds, settings))
    return shared + own * np.linspace(1.3, 0.8, settings)


def digits_noise(rng: np.random.Generator, seeds: int, settings: int) -> FloatArray:
    """Measured covariance; fewer settings are the baseline and those furthest from it."""
    factor = np.linalg.cholesky(DIGITS_COVARIANCE)
    scores = rng.normal(size=(NUM_SEARCHES, seeds, 7)) @ factor.T
    return scores[:, :, [0, *range(8 - settings, 7)]]


NOISE_MODELS = [equal_spreads, falling_spreads, digits_noise]


def t_values(scores: FloatArray) -> FloatArray:
    """Differences over their shrunk standard errors, one row per search."""
    seeds = scores.shape[1]
    differences = scores[:, :, 1:] - scores[:, :, :1]
    variances = shrink_variances(differences.var(axis=1, ddof=1), seeds=seeds)
    ratio: FloatArray = differences.mean(axis=1) / np.sqrt(variances / seeds)
    return ratio


def pooled_t_values(scores: FloatArray) -> FloatArray:
    """The rival: one variance from the residuals of the model setting + seed."""
    _, seeds, settings = scores.shape
    residuals = scores - scores.mean(axis=2, keepdims=True) - scores.mean(axis=1, keepdims=True)
    residuals += scores.mean(axis=(1, 2), keepdims=True)
    variance = (residuals**2).sum(axis=(1, 2)) / ((settings - 1) * (seeds - 1))
    means = scores.mean(axis=1)
    ratio: FloatArray = (means[:, 1:] - means[:, :1]) / np.sqrt(2 * variance / seeds)[:, None]
    return ratio


def critical_value(comparisons: int, seeds: int) -> float:
    """What `compare_to_baseline` multiplies a standard error by."""
    freedom = seeds - 1 + prior_degrees_of_freedom(comparisons, seeds)
    return dunnett_critical_value(comparisons, freedom)


def error_rate(scores: FloatArray) -> float:
    """Share of searches in which any interval leaves the true difference, zero, out."""
    _, seeds, settings = scores.shape
    largest = np.abs(t_values(scores)).max(axis=1)
    return float(np.mean(largest > critical_value(settings - 1, seeds)))


def test_the_simulation_judges_as_the_code_does() -> None:
    """The vectorised t values decide the first searches as `compare_to_baseline` does."""
    scores = falling_spreads(np.random.default_rng(0), 3, 7)[:200]

    differences = [compare_to_baseline(search) for search in scores]

    claimed = [
        bool((one.low > 0).any() or (one.high < 0).any())
        for one in differences
        if one.low is not None and one.high is not None
    ]
    expected = np.abs(t_values(scores)).max(axis=1) > critical_value(6, 3)
    assert claimed == expected.tolist()
    assert any(claimed)


@pytest.mark.parametrize("noise", NOISE_MODELS)
@pytest.mark.parametrize(("seeds", "bound"), [(3, 0.075), (5, 0.065), (10, 0.065)])
def test_seven_values_without_effect_are_rarely_told_apart(
    noise: NoiseModel, seeds: int, bound: float
) -> None:
    """Family-wise error of 7 values: at most 7.5 % with 3 seeds, 6.5 % with 5 and 10."""
    scores = noise(np.random.default_rng(2), seeds, 7)

    assert error_rate(scores) <= bound


@pytest.mark.parametrize("noise", NOISE_MODELS)
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("comparisons", [1, 2, 3, 4, 5])
def test_few_values_without_effect_are_rarely_told_apart(
    noise: NoiseModel, seeds: int, comparisons: int
) -> None:
    """The rule for d0 keeps the error near 5 % where few variances can be averaged."""
    scores = noise(np.random.default_rng(3), seeds, comparisons + 1)

    assert error_rate(scores) <= 0.08


@pytest.mark.parametrize("noise", [equal_spreads, falling_spreads])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_eleven_values_without_effect_are_rarely_told_apart(
    noise: NoiseModel, seeds: int
) -> None:
    """Ten comparisons keep the error as well, from two seeds on."""
    scores = noise(np.random.default_rng(4), seeds, 11)

    assert error_rate(scores) <= 0.065


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_power_is_three_quarters_of_the_pooled_analysis(seeds: int) -> None:
    """Robustness costs little where spreads are equal, the pooled variance's own ground.

    The pooled analysis gets the critical value that its own simulation asks for.
    """
    rng = np.random.default_rng(5)
    null, shifted = equal_spreads(rng, seeds, 7), equal_spreads(rng, seeds, 7)
    shifted[:, :, 3] += 2.0
    pooled_critical = np.quantile(np.abs(pooled_t_values(null)).max(axis=1), 0.95)

    pooled_power = np.mean(pooled_t_values(shifted)[:, 2] > pooled_critical)
    power = np.mean(t_values(shifted)[:, 2] > critical_value(6, seeds))

    assert power >= 0.75 * pooled_power


def test_the_pooled_analysis_errs_where_spreads_differ() -> None:
    """Why variances are not pooled: on the measured noise its error is twice the promised."""
    rng = np.random.default_rng(6)
    null = equal_spreads(rng, 5, 7)
    critical = np.quantile(np.abs(pooled_t_values(null)).max(axis=1), 0.95)

    error = np.mean(np.abs(pooled_t_values(digits_noise(rng, 5, 7))).max(axis=1) > critical)

    assert error > 0.09


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("comparisons", [1, 6])
def test_a_detectable_difference_is_found_four_times_in_five(
    seeds: int, comparisons: int
) -> None:
    """The power behind "would need about n seeds" is 80 %, to a few percent."""
    scores = equal_spreads(np.random.default_rng(7), seeds, comparisons + 1)
    # Two scores of standard deviation 1 differ with standard deviation sqrt(2).
    scores[:, :, 1] += detectable_difference(seeds, sd=2**0.5, comparisons=comparisons)

    found = np.mean(t_values(scores)[:, 0] > critical_value(comparisons, seeds))

    assert found == pytest.approx(0.8, abs=0.03)
