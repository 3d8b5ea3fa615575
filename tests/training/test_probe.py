"""Probes: the textbook's classifiers, whatever fits into memory at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from orchestrator.training import probe
from orchestrator.training.probe import Labelled, ProbeScore

Split = tuple[Labelled, Labelled]


@pytest.fixture(scope="module")
def digits() -> Split:
    """400 scanned digits to learn from and 300 to name, as maps (1, 8, 8) in float32."""
    scans = load_digits()
    values = scans.images[:, None].astype(np.float32)
    labels = scans.target.astype(np.int64)
    return Labelled(values[:400], labels[:400]), Labelled(values[400:700], labels[400:700])


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read seven at a time."""
    monkeypatch.setattr(probe, "_BLOCK", 7 * 512)


def scaled(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Both parts standardised by the first, by scikit-learn."""
    fitted, scored = (part.values.reshape(len(part.values), -1) for part in split)
    scaler = StandardScaler().fit(fitted.astype(np.float64))
    return scaler.transform(fitted.astype(np.float64)), scaler.transform(
        scored.astype(np.float64)
    )


def test_distances_are_those_of_torch() -> None:
    """|a|² + |b|² - 2 a·b, squared once and rooted once, is `torch.cdist`'s distance."""
    torch.manual_seed(0)
    left, right = torch.randn(40, 9).double() * 3, torch.randn(60, 9).double() + 5

    squares = probe.squared_distances(left, right)

    expected = torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.allclose(squares.sqrt(), expected, rtol=1e-12)


def test_rounding_makes_no_distance_imaginary() -> None:
    """Of equal rows far from the origin the sum may come out below 0; its root would be NaN."""
    rows = torch.full((50, 3), 1e8, dtype=torch.float64) + torch.arange(50)[:, None] / 7

    assert (probe.squared_distances(rows, rows) >= 0).all()


@pytest.mark.parametrize("neighbours", [1, 5, 20])
def test_neighbours_vote_as_in_scikit_learn(digits: Split, neighbours: int) -> None:
    """The same class for each of 300 digits, weights being inverse distances."""
    fitted, scored = scaled(digits)
    judge = KNeighborsClassifier(neighbours, weights="distance").fit(fitted, digits[0].labels)

    named = probe.name_by_neighbours(digits[0], digits[1].values, neighbours=neighbours)

    assert named.tolist() == judge.predict(scored).tolist()


def test_a_row_that_was_learned_from_is_recognised() -> None:
    """A row at no distance outvotes any number of near ones, and gives no NaN."""
    fitted = Labelled(
        np.array([[0.0], [1.0], [1.0], [1.0]], dtype=np.float32), np.array([1, 0, 0, 0])
    )

    assert probe.name_by_neighbours(fitted, fitted.values).tolist() == [1, 0, 0, 0]


def test_fewer_rows_than_neighbours_all_vote() -> None:
    """Three rows, twenty neighbours asked for: the nearer two outvote the third."""
    fitted = Labelled(np.array([[0.0], [1.0], [5.0]], np.float32), np.array([1, 1, 0]))

    named = probe.name_by_neighbours(fitted, np.array([[0.5], [4.9]], np.float32))

    assert named.tolist() == [1, 0]


def test_regression_is_scikit_learns(digits: Split) -> None:
    """Weights to three digits, and the same class for each of 300 digits."""
    fitted, scored = scaled(digits)
    judge = LogisticRegression(C=1 / 0.7, tol=1e-8, max_iter=5000)
    judge.fit(fitted, digits[0].labels)

    weight, bias = probe.fit_regression(
        Labelled(fitted, digits[0].labels),
        lambda block: torch.from_numpy(block),
        strength=0.7,
    )
    named = probe.name_by_regression(digits[0], digits[1].values, strength=0.7)

    assert np.allclose(weight.T, judge.coef_, atol=1e-3)
    # Intercepts may all be moved by one number.
    free = bias - bias.mean()
    assert np.allclose(free, judge.intercept_ - judge.intercept_.mean(), atol=1e-3)
    assert named.tolist() == judge.predict(scored).tolist()


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_blocks_change_nothing(
    digits: Split, kind: probe.Probe, request: pytest.FixtureRequest
) -> None:
    """Rows read seven at a time give the score of rows read at once, again and again."""
    at_once = probe.score_probe(kind, *digits)
    assert probe.score_probe(kind, *digits) == at_once

    request.getfixturevalue("tiny_blocks")

    assert probe.score_probe(kind, *digits) == at_once
    assert at_once.samples == 300
    assert at_once.accuracy > 0.8


@pytest.mark.parametrize("kind", ["knn", "linear"])
@pytest.mark.parametrize("stretch", [1.0, 1000.0])
def test_scale_wins_nothing(kind: probe.Probe, stretch: float) -> None:
    """A useless channel a thousand times as large as the useful one does not drown it."""
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    useful = labels + 0.1 * generator.standard_normal(200)
    useless = stretch * generator.standard_normal(200)
    closed = np.zeros(200)
    values = np.stack([useful, useless, closed], axis=1).astype(np.float32)
    fitted, scored = Labelled(values[:100], labels[:100]), Labelled(values[100:], labels[100:])

    assert probe.score_probe(kind, fitted, scored).accuracy == 1.0


def test_a_class_that_was_never_learned_is_a_miss() -> None:
    """Features of another data set may bring a class that the first part lacks."""
    fitted = Labelled(np.array([[0.0], [1.0]], np.float32), np.array([0, 1]))
    scored = Labelled(np.array([[0.0], [1.0], [2.0]], np.float32), np.array([0, 1, 2]))

    for kind in ("knn", "linear"):
        assert probe.score_probe(kind, fitted, scored) == ProbeScore(correct=2, samples=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("correct", "samples"), [(0, 10), (7, 10), (10, 10), (657, 700)])
def test_the_interval_is_wilsons(correct: int, samples: int) -> None:
    """SciPy's, also where nothing or everything is right."""
    expected = binomtest(correct, samples).proportion_ci(method="wilson")

    low, high = ProbeScore(correct=correct, samples=samples).interval()

    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= correct / samples <= high <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Labelled(np.zeros((2, 3)), np.zeros(3, dtype=np.int64)),
        lambda: Labelled(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)),
    ],
)
def test_rows_and_labels_belong_together(make: Callable[[], Labelled]) -> None:
    """Other counts, or none at all, are a programmer's mistake."""
    with pytest.raises(ValueError, match="rows, "):
        make()
