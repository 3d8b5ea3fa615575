"""Simultaneous intervals against tables, against other methods, and worked by hand."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from orchestrator.comparison.simultaneous import (
    compare_to_baseline,
    detectable_difference,
    dunnett_critical_value,
    mean_interval,
    prior_degrees_of_freedom,
    seeds_needed,
    shrink_variances,
)

# Dunnett 1964, table II: two-sided 5 %, degrees of freedom to values for 1 to 6 comparisons.
DUNNETT_1964 = {
    5: (2.57, 3.03, 3.29, 3.48, 3.62, 3.73),
    6: (2.45, 2.86, 3.10, 3.26, 3.39, 3.49),
    10: (2.23, 2.57, 2.76, 2.89, 2.99, 3.07),
    20: (2.09, 2.38, 2.54, 2.65, 2.73, 2.80),
}


@pytest.mark.parametrize("freedom", DUNNETT_1964)
def test_critical_values_are_the_published_ones(freedom: int) -> None:
    """Two-sided 5 % values agree with Dunnett's table to its last digit."""
    computed = [dunnett_critical_value(m, freedom) for m in range(1, 7)]

    # Half a unit of the last digit, and what the table's own interpolation may add.
    assert computed == pytest.approx(DUNNETT_1964[freedom], abs=0.0061)


@pytest.mark.parametrize("freedom", [1.0, 1.35, 4.0, 30.0, 1000.0])
def test_one_comparison_is_students_t(freedom: float) -> None:
    """With a single comparison the critical value is Student's, fractional freedom included."""
    expected = stats.t.ppf(0.975, freedom)

    assert dunnett_critical_value(1, freedom) == pytest.approx(expected, rel=1e-6)


def test_critical_value_holds_its_probability_by_another_integral() -> None:
    """SciPy's multivariate t puts 95 % of its mass within the critical value."""
    bound = dunnett_critical_value(6, 8)
    correlation = np.full((6, 6), 0.5) + 0.5 * np.eye(6)
    within = stats.multivariate_t(shape=correlation, df=8, seed=1).cdf(
        np.full(6, bound), lower_limit=np.full(6, -bound)
    )

    assert within == pytest.approx(0.95, abs=5e-4)


def test_level_is_the_callers() -> None:
    """Another coverage gives another critical value: Student's 99 % with 4 degrees, 4.604."""
    assert dunnett_critical_value(1, 4, level=0.99) == pytest.approx(4.6041, abs=1e-4)


def test_prior_degrees_of_freedom_grow_and_stop_at_four() -> None:
    """Nothing to borrow at one comparison, 0.35 (m - 1)(n - 1) beyond, 4 at most."""
    assert prior_degrees_of_freedom(1, 10) == 0
    assert prior_degrees_of_freedom(2, 3) == pytest.approx(0.7)
    assert prior_degrees_of_freedom(6, 3) == pytest.approx(3.5)
    assert prior_degrees_of_freedom(6, 5) == 4


def test_variances_are_drawn_to_their_mean() -> None:
    """Variances 1 and 3 from 3 seeds, d0 = 0.7: (1.4 + 2) / 2.7 and (1.4 + 6) / 2.7."""
    shrunk = shrink_variances(np.array([1.0, 3.0]), seeds=3)

    assert shrunk == pytest.approx([3.4 / 2.7, 7.4 / 2.7])


def test_one_difference_is_the_paired_t_test() -> None:
    """Two settings give SciPy's paired t interval: mean 0.025, half width 0.0062."""
    baseline = np.array([0.90, 0.91, 0.92, 0.93, 0.94])
    other = baseline + np.array([0.02, 0.03, 0.02, 0.03, 0.025])

    differences = compare_to_baseline(np.column_stack([baseline, other]))

    expected = stats.ttest_rel(other, baseline).confidence_interval(0.95)
    assert differences.low is not None
    assert differences.high is not None
    assert differences.mean == pytest.approx([0.025])
    assert differences.low == pytest.approx([expected.low])
    assert differences.high == pytest.approx([expected.high])
    assert differences.sd == pytest.approx(0.005)


def test_several_differences_are_widened_by_dunnett_and_shrinkage() -> None:
    """Differences (-1, 0, 1) and (1, 3, 5): variances 1 and 4 meet at their mean, by hand."""
    scores = np.array([[0.0, -1.0, 1.0], [0.0, 0.0, 3.0], [0.0, 1.0, 5.0]])

    differences = compare_to_baseline(scores)

    # d0 = 0.7; (0.7 * 2.5 + 2 * v) / 2.7 for v = 1 and v = 4; n - 1 + d0 = 2.7 degrees.
    variances = np.array([3.75, 9.75]) / 2.7
    half = dunnett_critical_value(2, 2.7) * np.sqrt(variances / 3)
    assert differences.low == pytest.approx(np.array([0.0, 3.0]) - half)
    assert differences.high == pytest.approx(np.array([0.0, 3.0]) + half)
    assert differences.sd == pytest.approx(sqrt(2.5))


def test_seed_effects_cancel() -> None:
    """Adding any number to all scores of a seed changes no interval."""
    scores = np.array([[0.0, 1.0, 2.0], [0.5, 1.0, 2.0], [0.0, 2.0, 2.5]])
    shifted = scores + np.array([[3.0], [-7.0], [11.0]])

    plain, moved = compare_to_baseline(scores), compare_to_baseline(shifted)

    assert plain.low == pytest.approx(moved.low)
    assert plain.high == pytest.approx(moved.high)


def test_two_seeds_give_an_interval() -> None:
    """Differences 1 and 3 of two seeds: 2 -+ 12.706, Student's with one degree of freedom."""
    differences = compare_to_baseline(np.array([[0.0, 1.0], [0.0, 3.0]]))

    assert differences.low == pytest.approx([2 - 12.7062], abs=1e-3)
    assert differences.high == pytest.approx([2 + 12.7062], abs=1e-3)


def test_one_seed_gives_means_alone() -> None:
    """A single seed has differences, but neither a spread nor an interval."""
    differences = compare_to_baseline(np.array([[0.5, 0.75, 0.25]]))

    assert differences.mean.tolist() == [0.25, -0.25]
    assert differences.low is None
    assert differences.high is None
    assert np.isnan(differences.sd)


def test_equal_differences_give_no_interval_of_width_zero() -> None:
    """0.01 at every seed has rounding for a spread: no interval rather than a sure one."""
    baseline = np.array([0.91, 0.925, 0.9333])

    differences = compare_to_baseline(np.column_stack([baseline, baseline + 0.01]))

    assert differences.low is None
    assert differences.high is None
    assert differences.sd == 0


def test_one_setting_without_spread_borrows_from_the_others() -> None:
    """A setting that differs equally at every seed still gets an interval of some width."""
    scores = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0, 3.0]])

    differences = compare_to_baseline(scores)

    assert differences.low is not None
    assert differences.low[0] < 1


@pytest.mark.parametrize("shape", [(3,), (0, 2), (3, 1)])
def test_shapes_that_allow_no_comparison_are_refused(shape: tuple[int, ...]) -> None:
    """Scores need a seed, a baseline and something beside it."""
    with pytest.raises(
        ValueError, match=r"scores must have shape \(seeds, 2 or more settings\)"
    ):
        compare_to_baseline(np.zeros(shape))


def test_scores_that_are_no_numbers_are_refused() -> None:
    """NaN would turn every interval into a silent 'open'."""
    with pytest.raises(ValueError, match="scores must be finite"):
        compare_to_baseline(np.array([[0.0, np.nan]]))


def test_interval_of_a_mean_is_students() -> None:
    """1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 4.3027."""
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (-0.48414, 4.48414), abs=1e-4
    )


@pytest.mark.parametrize("scores", [[], [0.5], [0.1 + 0.2, 0.3]])
def test_a_mean_without_spread_has_no_interval(scores: list[float]) -> None:
    """No run, one run, and runs that agree but for rounding say nothing about a spread."""
    assert mean_interval(np.array(scores)) is None


def test_seeds_needed_are_the_textbooks() -> None:
    """Paired t test, effect of one standard deviation, 80 % power, 5 % two-sided: 10 pairs."""
    assert seeds_needed(0.5, sd=0.5, comparisons=1) == 10


def test_seeds_needed_is_the_smallest_number() -> None:
    """The answer detects the difference, one seed fewer does not."""
    needed = seeds_needed(0.5, sd=0.5, comparisons=6)

    assert detectable_difference(needed, sd=0.5, comparisons=6) <= 0.5
    assert detectable_difference(needed - 1, sd=0.5, comparisons=6) > 0.5


def test_a_huge_difference_needs_two_seeds() -> None:
    """Below two seeds there is no interval, however large the difference."""
    assert seeds_needed(1000.0, sd=0.5, comparisons=6) == 2


def test_detectable_difference_scales_with_the_spread() -> None:
    """Twice the spread, twice the difference."""
    one = detectable_difference(5, sd=1.0, comparisons=3)

    assert detectable_difference(5, sd=2.0, comparisons=3) == pytest.approx(2 * one)


def test_no_difference_is_never_found() -> None:
    """Zero would take infinitely many seeds: the caller's mistake."""
    with pytest.raises(ValueError, match=r"difference must be positive \(got 0\.0\)"):
        seeds_needed(0.0, sd=1.0, comparisons=1)


def test_one_seed_detects_nothing() -> None:
    """Power is defined from two seeds on."""
    with pytest.raises(ValueError, match=r"an interval takes at least 2 seeds \(got 1\)"):
        detectable_difference(1, sd=1.0, comparisons=1)
