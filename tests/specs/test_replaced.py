"""An override that replaces a search space says which settings of the search are left over."""

from collections.abc import Callable

from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.search import Grid

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]

SPACES = "loss: {label_smoothing: {grid: [0, 0.1]}}\noptimizer: {lr: {uniform: [0.1, 1]}}\n"
SEARCH = "search: {algorithm: random, num_trials: 4, baseline: {label_smoothing: 0, lr: 1}}\n"


def test_replacing_the_last_space_is_no_mistake(load: Load) -> None:
    """One run of a search's file needs one override; what it leaves over is named."""
    spec = load(SPACES + SEARCH, "loss.label_smoothing=0.1", "optimizer.lr=0.5")

    assert spec.notes == (
        "override 'loss.label_smoothing=0.1' and override 'optimizer.lr=0.5' replaced a search "
        "space; no longer used: search.algorithm, search.num_trials, "
        "search.baseline.label_smoothing, search.baseline.lr",
    )
    search = spec.keys.search
    assert (search.algorithm, search.num_trials, search.baseline) == (None, None, None)
    assert "search: {}\n" in spec.text


def test_replacing_the_last_drawn_space_leaves_a_grid(load: Load) -> None:
    """A grid has its number of settings, and draws nothing."""
    spec = load(SPACES + SEARCH, "optimizer.lr=0.5")

    assert spec.notes == (
        "override 'optimizer.lr=0.5' replaced a search space; no longer used: "
        "search.algorithm, search.num_trials, search.baseline.lr",
    )
    assert spec.keys.search.baseline == {"loss.label_smoothing": 0.0}


def test_what_still_applies_stays(load: Load) -> None:
    """With a drawn space left, only the baseline has a value too many."""
    spec = load(SPACES + SEARCH, "loss.label_smoothing=0.1")

    assert spec.notes == (
        "override 'loss.label_smoothing=0.1' replaced a search space; no longer used: "
        "search.baseline.label_smoothing",
    )
    assert (spec.keys.search.algorithm, spec.keys.search.num_trials) == ("random", 4)


def test_nothing_left_over_is_nothing_to_say(load: Load) -> None:
    """A file without settings of the search gives no note, nor does another space."""
    lines = SPACES.splitlines(keepends=True)[0]

    assert load(lines, "loss.label_smoothing=0.1").notes == ()
    assert load(lines + "search: {algorithm: grid}\n", "loss.label_smoothing=0.1").notes == (
        "override 'loss.label_smoothing=0.1' replaced a search space; no longer used: "
        "search.algorithm",
    )
    spec = load(lines + "search: {algorithm: grid}\n", "loss.label_smoothing={grid: [0.3]}")
    assert (spec.notes, spec.spaces) == ((), {"loss.label_smoothing": Grid((0.3,))})


def test_a_space_gone_by_extends_is_a_mistake(refused: Refused) -> None:
    """Two overrides that contradict each other are the user's, not the file's."""
    assert refused(
        SPACES.splitlines(keepends=True)[0], "loss.label_smoothing=0", "search.num_trials=2"
    ) == (
        "override 'search.num_trials=2': search.num_trials: there is nothing to search; "
        "seeds and metric need no search space, this does",
    )


def test_an_override_of_the_baseline_is_not_dropped(refused: Refused) -> None:
    """What was said on the command line is never dropped in silence."""
    mistakes = refused(SPACES + SEARCH, "optimizer.lr=0.5", "search.baseline.lr=0.5")

    assert mistakes == (
        "override 'search.baseline.lr=0.5': search.baseline.lr: is not searched; "
        "searched keys are loss.label_smoothing",
    )
