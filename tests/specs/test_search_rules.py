"""Key `search` and the spaces must fit each other, and the metric must be a fair one."""

from collections.abc import Callable

import pytest

from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.search import METRICS, confounded_reason

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]

GRID = "loss: {label_smoothing: {grid: [0, 0.1, 0.2]}}\n"
RANGE = "optimizer: {lr: {loguniform: [1e-3, 1]}}\n"


def test_a_grid_needs_no_search_keys(load: Load) -> None:
    """Grids are trained as they are; the baseline is their first values."""
    search = load(GRID).keys.search

    assert (search.algorithm, search.num_trials, search.baseline) == (None, None, None)


def test_seeds_and_metric_need_no_space(load: Load) -> None:
    """One setting may be trained on several seeds, a few at a time."""
    search = load("search: {seeds: 5, metric: val/nll, max_concurrent: 2}\n").keys.search

    assert (search.seeds, search.metric, search.max_concurrent) == (5, "val/nll", 2)


def test_without_a_space_there_is_nothing_to_search(refused: Refused) -> None:
    """In a file, settings of a search that is none are a mistake."""
    nothing = "there is nothing to search; seeds and metric need no search space, this does"

    assert refused("search: {algorithm: grid, num_trials: 3, baseline: {lr: 1}}\n") == (
        f"x.yaml:5:21: search.algorithm: {nothing}",
        f"x.yaml:5:39: search.num_trials: {nothing}",
        f"x.yaml:5:42: search.baseline: {nothing}",
    )


@pytest.mark.parametrize("algorithm", ["grid", "null"])
def test_a_drawn_space_needs_random(refused: Refused, algorithm: str) -> None:
    """What is drawn is shown, with the key that says so."""
    lines = GRID + RANGE + "search: {baseline: {label_smoothing: 0, lr: 1}}\n"

    assert refused(lines, f"search.algorithm={algorithm}") == (
        "x.yaml:6:31: optimizer.lr: loguniform is drawn at random; "
        "set search.algorithm: random",
    )


def test_random_needs_a_number_of_settings(refused: Refused) -> None:
    """A random search would never end by itself."""
    assert refused(RANGE + "search: {algorithm: random, baseline: {lr: 1}}\n") == (
        "x.yaml:6:1: search.num_trials: required key is missing; "
        "random needs to know how many settings to train",
    )


def test_grids_alone_fix_the_number_of_settings(refused: Refused) -> None:
    """A grid is trained whole; nothing of it is drawn."""
    lines = (
        GRID + "optimizer: {lr: {grid: [1, 2]}}\nsearch: {algorithm: random, num_trials: 6}\n"
    )

    assert refused(lines) == (
        "x.yaml:7:21: search.algorithm: every space is a grid, so nothing is drawn; "
        "use grid here, or choice there",
        "x.yaml:7:41: search.num_trials: grids multiply to 6 settings (got 6); leave it out",
    )


@pytest.mark.parametrize("count", ["3", "6"])
def test_grids_multiply_what_is_drawn(load: Load, count: str) -> None:
    """Every drawn point is trained at every combination of the grids."""
    lines = (
        "search: {algorithm: random, num_trials: %s, baseline: {label_smoothing: 0, lr: 1}}\n"
    )

    assert load(GRID + RANGE + lines % count).keys.search.num_trials == int(count)


def test_settings_are_a_multiple_of_the_grids(refused: Refused) -> None:
    """A number that leaves some combinations out is refused."""
    lines = (
        "search: {algorithm: random, num_trials: 4, baseline: {label_smoothing: 0, lr: 1}}\n"
    )

    assert refused(GRID + RANGE + lines) == (
        "x.yaml:7:41: search.num_trials: must be a multiple of 3, the number of combinations "
        "of the grids (got 4)",
    )


def test_more_settings_than_there_are_cannot_be_drawn(refused: Refused) -> None:
    """Choices and whole numbers are finite: 3 grid values, 2 choices, 4 whole numbers."""
    lines = (
        "optimizer: {name: {choice: [sgd, adamw]}}\n"
        "search:\n"
        "  {algorithm: random, num_trials: 27, baseline: {label_smoothing: 0, name: sgd, "
        "batch_size: 9}}\n"
    )

    assert refused(GRID + lines, "data.batch_size={randint: [5, 8]}") == (
        "x.yaml:8:35: search.num_trials: the spaces hold only 24 different settings (got 27)",
    )


@pytest.mark.parametrize(
    "written",
    ["{label_smoothing: 0.1}", "{loss.label_smoothing: 0.1}", "{loss: {label_smoothing: 0.1}}"],
)
def test_a_baseline_is_named_in_full_afterwards(load: Load, written: str) -> None:
    """However the author wrote it, the spec holds dotted keys."""
    search = load(GRID + f"search: {{baseline: {written}}}\n").keys.search

    assert search.baseline == {"loss.label_smoothing": 0.1}


def test_a_baseline_has_the_order_of_the_spaces(load: Load) -> None:
    """Settings and baseline show their values in the same order."""
    lines = (
        "search: {algorithm: random, num_trials: 3, baseline: {lr: 1, label_smoothing: 0}}\n"
    )

    baseline = load(GRID + RANGE + lines).keys.search.baseline

    assert list((baseline or {}).items()) == [
        ("loss.label_smoothing", 0.0),
        ("optimizer.lr", 1.0),
    ]


def test_a_drawn_space_needs_a_baseline(refused: Refused) -> None:
    """A range has no first value."""
    assert refused(RANGE + "search: {algorithm: random, num_trials: 2}\n") == (
        "x.yaml:6:1: search.baseline: required key is missing; "
        "without grids alone there is no first setting",
    )


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        (
            "{seed: 1}",
            "27: search.baseline.seed: is not searched; searched keys are loss.label_smoothing",
        ),
        ("{}", "10: search.baseline: needs a value for loss.label_smoothing"),
        ("3", "20: search.baseline: must be a map from searched keys to values (got 3)"),
        (
            "{label_smoothing: [0]}",
            "38: search.baseline.label_smoothing: must be a value (got a list)",
        ),
        (
            "{label_smoothing: 0.3}",
            "38: search.baseline.label_smoothing: must be one of the grid's "
            "0.0, 0.1, 0.2 (got 0.3)",
        ),
        (
            "{label_smoothing: true}",
            "38: search.baseline.label_smoothing: must be a number (got true)",
        ),
        (
            "{label_smoothing: 2}",
            "38: search.baseline.label_smoothing: must be less than 1 (got 2)",
        ),
        (
            "{label_smoothing: 0, loss.label_smoothing: 0}",
            "63: search.baseline.loss.label_smoothing: loss.label_smoothing is set twice",
        ),
    ],
)
def test_wrong_baselines_are_refused(refused: Refused, written: str, mistake: str) -> None:
    """A baseline is one of the settings, each of its values where it stands."""
    column, _, text = mistake.partition(": ")

    mistakes = refused(GRID + f"search: {{baseline: {written}}}\n")

    assert mistakes[0] == f"x.yaml:6:{column}: {text}"


def test_a_last_part_may_be_ambiguous(refused: Refused) -> None:
    """Two searched keys that end alike are written in full."""
    lines = "optimizer: {name: {grid: [sgd, adamw]}}\nschedule: {name: {grid: [cosine]}}\n"

    assert refused(lines + "search: {baseline: {name: sgd}}\n") == (
        "x.yaml:7:27: search.baseline.name: could be optimizer.name or schedule.name; "
        "write it in full",
    )


def test_a_baseline_must_be_trainable(refused: Refused) -> None:
    """Rules across keys hold for a baseline that is none of the drawn settings."""
    lines = (
        "schedule: {warmup_epochs: 2}\n"
        "search: {algorithm: random, num_trials: 2, baseline: {epochs: 1}}\n"
    )

    assert refused(lines, "training.epochs={randint: [3, 9]}") == (
        "x.yaml:5:27: schedule.warmup_epochs: must be less than training.epochs, 1 (got 2), "
        "at training.epochs=1",
    )


@pytest.mark.parametrize("metric", ["val/nll", "train/loss"])
def test_a_metric_that_the_key_bends_is_refused(refused: Refused, metric: str) -> None:
    """Label smoothing changes the losses by itself, whatever the network has learned."""
    assert refused(GRID + f"search: {{metric: {metric}}}\n") == (
        f"x.yaml:6:18: search.metric: loss.label_smoothing bends {metric} by itself: the "
        "training loss is itself smoothed; un-smoothed NLL, ECE and Brier prefer 0 whatever "
        "the accuracy does, since smoothing changes the temperature of the logits; use "
        "val/accuracy, or set search.allow_confounded_metric: true",
    )


def test_a_bent_metric_may_be_asked_for(load: Load) -> None:
    """Who knows what it means may compare by it; saying so without need is no mistake."""
    allowed = "search: {metric: %s, allow_confounded_metric: true}\n"

    assert load(GRID + allowed % "val/nll").keys.search.metric == "val/nll"
    assert load(GRID + allowed % "val/accuracy").keys.search.metric == "val/accuracy"


def test_fair_metrics_have_no_caveat() -> None:
    """A metric is bent by some keys only."""
    assert confounded_reason(["optimizer.lr"], "val/nll") == ""
    assert confounded_reason(["loss.label_smoothing"], "val/accuracy") == ""
    assert confounded_reason(["data.label_noise", "seed"], "train/loss") == (
        "data.label_noise bends train/loss by itself: the training loss is measured against "
        "the redrawn labels themselves"
    )


def test_directions_are_known() -> None:
    """Accuracies are to be large, losses and errors small."""
    assert {name: info.maximize for name, info in METRICS.items()} == {
        "val/accuracy": True,
        "val/top5": True,
        "val/balanced_accuracy": True,
        "val/macro_f1": True,
        "val/nll": False,
        "val/nll_calibrated": False,
        "val/ece": False,
        "val/ece_adaptive": False,
        "val/brier": False,
        "train/loss": False,
    }


def test_a_broken_space_is_one_mistake(refused: Refused) -> None:
    """Whether there is something to search is not judged while a space is misspelt."""
    assert refused("loss: {label_smothing: {grid: [0]}}\nsearch: {algorithm: grid}\n") == (
        "x.yaml:5:8: loss.label_smothing: no such key; did you mean 'label_smoothing'?",
    )


def test_search_rules_wait_for_the_search(refused: Refused) -> None:
    """A search section that is wrong in itself is mended first."""
    assert refused("search: {seeds: x, algorithm: grid}\n") == (
        "x.yaml:5:17: search.seeds: must be a whole number (got 'x')",
    )
