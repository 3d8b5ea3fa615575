"""A search space stands in place of a value; each of its values is checked where it stands."""

from collections.abc import Callable

import pytest

from orchestrator.specs.experiment import ExperimentSpec
from orchestrator.specs.search import (
    Choice,
    Grid,
    LogUniform,
    RandInt,
    Space,
    Uniform,
    corners,
)

Load = Callable[..., ExperimentSpec]
Refused = Callable[..., tuple[str, ...]]

RANDOM = "search: {algorithm: random, num_trials: 2, baseline: {%s: %s}}\n"


@pytest.mark.parametrize(
    ("key", "written", "space"),
    [
        ("loss.label_smoothing", "{grid: [0, 0.1]}", Grid((0.0, 0.1))),
        ("loss.label_smoothing", "{choice: [0, 0.1]}", Choice((0.0, 0.1))),
        ("loss.label_smoothing", "{uniform: [0, 0.5]}", Uniform(0.0, 0.5)),
        ("optimizer.lr", "{loguniform: [1e-4, 1]}", LogUniform(0.0001, 1.0)),
        ("schedule.warmup_epochs", "{randint: [0, 3]}", RandInt(0, 3)),
        ("training.epochs", "{randint: [1, 3]}", RandInt(1, 3)),
        ("data.batch_size", "{grid: [8, 0x10]}", Grid((8, 16))),
        ("data.train_size", "{grid: [null, 100]}", Grid((None, 100))),
        ("data.drop_last", "{grid: [true, false]}", Grid((True, False))),
        (
            "model.architecture",
            "{grid: [small_cnn, resnet18]}",
            Grid(("small_cnn", "resnet18")),
        ),
        ("optimizer.name", "{choice: [sgd, adamw]}", Choice(("sgd", "adamw"))),
    ],
)
def test_spaces_are_parsed(load: Load, key: str, written: str, space: Space) -> None:
    """Five kinds of space, their values as the key holds them."""
    first = corners(space)[0]
    shown = "null" if first is None else first
    is_grid = isinstance(space, Grid)
    section, _, word = key.partition(".")

    spec = load("" if is_grid else RANDOM % (word, shown), f"{key}={written}")

    assert spec.spaces == {key: space}
    assert getattr(getattr(spec.keys, section), word) == first


def test_the_values_of_a_float_key_are_floats(load: Load) -> None:
    """A whole number in a grid of fractions is the fraction that the run is given."""
    space = load("loss: {label_smoothing: {grid: [0, 0.1]}}\n").spaces["loss.label_smoothing"]

    assert [type(value) for value in corners(space)] == [float, float]


def test_spaces_are_in_file_order(load: Load) -> None:
    """Settings are numbered by the order in which the author wrote the spaces."""
    spec = load("optimizer: {lr: {grid: [1]}}\nloss: {label_smoothing: {grid: [0]}}\n")

    assert list(spec.spaces) == ["optimizer.lr", "loss.label_smoothing"]


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        ("{gird: [0]}", "24: no such search space (got 'gird'); did you mean 'grid'?"),
        (
            "{grid_search: [0]}",
            "24: no such search space (got 'grid_search'); did you mean 'grid'?",
        ),
        ("{values: [0]}", "24: no such search space (got 'values'); did you mean 'grid'?"),
        (
            "{log_uniform: [0]}",
            "24: no such search space (got 'log_uniform'); did you mean 'loguniform'?",
        ),
        (
            "{grid: [0], choice: [1]}",
            "24: a search space is a map with one key (got grid, choice)",
        ),
        ("{}", "24: must be a value, or a search space such as {grid: [...]} (got a map)"),
        (
            "{low: 0, high: 1}",
            "24: must be a value, or a search space such as {grid: [...]} (got a map)",
        ),
        ("{grid: 0.1}", "31: grid takes a list (got 0.1)"),
        ("{grid: {a: 1}}", "31: grid takes a list (got a map)"),
        ("{grid: []}", "31: grid needs at least one value"),
        ("{choice: []}", "33: choice needs at least one value"),
        ("{grid: [0, [1]]}", "35: must be a single value (got a list)"),
        ("{grid: [0, 0.1, 0.0]}", "40: 0.0 is in the grid twice"),
        ("{grid: [0, 1.5, 0.1]}", "35: must be less than 1 (got 1.5)"),
        ("{grid: [0, null]}", "35: must be a number (got null)"),
        ("{grid: [.nan, 0]}", "32: must be a finite number (got nan)"),
        ("{uniform: [0]}", "34: uniform takes [low, high] (got 1 values)"),
        ("{uniform: [0, 0.1, 0.2]}", "34: uniform takes [low, high] (got 3 values)"),
        ("{uniform: [0.2, 0.1]}", "34: low must be less than high (got 0.2 and 0.1)"),
        ("{uniform: [0.1, 0.1]}", "34: low must be less than high (got 0.1 and 0.1)"),
        ("{uniform: [.nan, 1]}", "34: low must be less than high (got nan and 1)"),
        ("{uniform: [0, 1]}", "38: must be less than 1 (got 1)"),
        ("{uniform: [0, .inf]}", "38: must be a finite number (got inf)"),
        ("{uniform: [a, 1]}", "35: must be a number (got 'a')"),
        ("{uniform: [true, 2]}", "35: must be a number (got true)"),
        ("{loguniform: [0, 0.1]}", "38: must be greater than 0 in loguniform (got 0)"),
        ("{randint: [0.0, 1]}", "35: must be a whole number (got 0.0)"),
    ],
)
def test_wrong_spaces_are_refused(refused: Refused, written: str, mistake: str) -> None:
    """What is wrong with a space is shown at the item that is wrong."""
    column, _, text = mistake.partition(": ")
    mistakes = refused(f"loss: {{label_smoothing: {written}}}\n")

    assert mistakes[-1] == f"x.yaml:5:{int(column) + 1}: loss.label_smoothing: {text}"


def test_every_wrong_value_of_a_grid_is_shown(refused: Refused) -> None:
    """The first value stands in for the key, the others are checked all the same."""
    assert refused("loss:\n  label_smoothing:\n    grid: [-1, 0, 2, x]\n") == (
        "x.yaml:7:12: loss.label_smoothing: must be at least 0 (got -1)",
        "x.yaml:7:19: loss.label_smoothing: must be less than 1 (got 2)",
        "x.yaml:7:22: loss.label_smoothing: must be a number (got 'x'); "
        "write it without quotes or units",
    )


def test_one_and_true_are_two_values(refused: Refused) -> None:
    """Python takes 1 for true; here they differ, and 1 is no truth."""
    assert refused("", "data.drop_last={grid: [true, 1]}") == (
        "override 'data.drop_last={grid: [true, 1]}': data.drop_last: "
        "must be true or false (got 1)",
    )


@pytest.mark.parametrize(
    ("key", "written", "mistake"),
    [
        (
            "training.epochs",
            "{uniform: [1, 3]}",
            "uniform draws fractions; use randint for a whole number",
        ),
        (
            "data.drop_last",
            "{uniform: [0, 1]}",
            "uniform draws numbers; use grid or choice here",
        ),
        (
            "optimizer.name",
            "{randint: [0, 1]}",
            "randint draws numbers; use grid or choice here",
        ),
    ],
)
def test_ranges_fit_the_kind_of_key(
    refused: Refused, key: str, written: str, mistake: str
) -> None:
    """A range draws what the key could be."""
    assert refused("", f"{key}={written}") == (f"override '{key}={written}': {key}: {mistake}",)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("seed", "use search.seeds"),
        ("name", "it names the experiment"),
        ("description", "it describes the experiment"),
        ("deterministic", "it is fixed when a worker process starts"),
        ("storage_path", "everything is written to one folder"),
        ("data.dataset", "settings are compared on one data set"),
        ("data.root", "settings are compared on one data set"),
        ("data.loader_workers", "it changes the speed, never the numbers"),
        ("training.select", "settings are compared by the same rule"),
        ("resources.num_workers", "it is fixed when a worker process starts"),
        ("search.seeds", "it says how to search"),
        ("tracking.uri", "all records go to one store"),
    ],
)
def test_what_cannot_be_searched_says_why(refused: Refused, key: str, reason: str) -> None:
    """Some keys have one value in a whole search."""
    assert refused("", f"{key}={{grid: [1, 2]}}") == (
        f"override '{key}={{grid: [1, 2]}}': {key}: cannot be searched; {reason}",
    )


def test_a_combination_that_cannot_be_is_found_at_once(refused: Refused) -> None:
    """Rules across keys hold for every setting of a grid, not for the first alone."""
    lines = "schedule: {name: {grid: [cosine, step]}}\n"

    assert refused(lines) == (
        "x.yaml:5:1: schedule.step_epochs: required with schedule.name: step, "
        "at schedule.name='step'",
    )


@pytest.mark.parametrize(
    "line",
    [
        "schedule: {name: {grid: [cosine, step]}, step_epochs: 2}",
        "schedule: {name: {grid: [step, cosine]}, step_epochs: 2, gamma: 0.5}",
        "schedule: {name: {grid: [cosine, multistep]}, milestones: [1, 2]}",
        "optimizer: {name: {grid: [sgd, adamw]}, momentum: 0.5}",
        "optimizer: {name: {grid: [rprop, sgd]}, weight_decay: 0.1}",
        "optimizer: {scale_lr: {grid: [none, sqrt]}, reference_batch_size: 32}",
        "loss: {name: {grid: [cross_entropy, 'a:b']}, arguments: {x: 1}}",
        "loss: {name: {grid: ['a:b', bce]}, class_weights: balanced}",
        "loss: {label_smoothing: {grid: [0, 0.1]}, smoothing: others}",
        "fine_tune: {linear_probe_epochs: {grid: [0, 2]}}",
    ],
)
def test_a_key_is_read_where_some_setting_reads_it(load: Load, line: str) -> None:
    """What belongs to one value of a searched key can be written beside it."""
    assert load(line).notes == ()


@pytest.mark.parametrize(
    "line",
    [
        "data: {dataset: digits, normalize: {grid: [none, given]}, mean: [0.5], std: [0.5]}",
        "data: {dataset: digits, mixup: {grid: [0, 0.2]}, mix_off_epoch: 2}",
        "model: {architecture: small_cnn, weights: {grid: [null, x.pth]}, min_loaded: 0.5}",
        "model: {architecture: {grid: [small_cnn, vgg11]}, head: gap, arguments: {dropout: 0}}",
    ],
)
def test_so_is_one_of_a_section_that_must_be_there(load: Load, line: str) -> None:
    """The same, in place of a line of the smallest file."""
    key = line.partition(":")[0]

    assert load("", f"{key}={line.partition(': ')[2]}").notes == ()


def test_a_searched_key_that_some_settings_do_not_read_is_noted(load: Load) -> None:
    """Two runs that train the same are no mistake, but cost a run."""
    notes = load(
        "optimizer: {name: {grid: [sgd, adamw]}, momentum: {grid: [0.5, 0.9]}}\n"
    ).notes

    assert notes == (
        "optimizer.momentum: belongs to sgd and rmsprop, adamw has no momentum (got 0.5), "
        "at optimizer.name='adamw'; settings that differ in it alone train alike there",
    )


def test_a_searched_argument_that_some_settings_do_not_read_is_noted(load: Load) -> None:
    """The key that is not read is the map around it."""
    (note,) = load(
        "loss: {name: {grid: [bce, 'a:b']}, arguments: {x: {grid: [1, 2]}}}\n"
        "optimizer: {lr: {grid: [0.1, 0.2]}}\n"
    ).notes

    assert note.startswith("loss.arguments.x: bce takes no arguments, at loss.name='bce'; ")


def test_of_too_many_settings_to_look_at_none_is_refused(load: Load) -> None:
    """A setting that was not looked at may be the one that reads a key."""
    many = ", ".join(f"0.{number:03}" for number in range(1, 70))
    line = f"lr: {{grid: [{many}]}}, weight_decay: {{grid: [{many}]}}"

    assert load(f"optimizer: {{name: {{grid: [adamw, sgd]}}, {line}, momentum: 0.5}}\n")


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        (
            "optimizer: {lr: {grid: [0.1, 0.2]}, weight_decay: {grid: [0, 0.1]}}\n"
            "search: {baseline: {lr: 0.1}}\n",
            "x.yaml:6:10: search.baseline: needs a value for optimizer.weight_decay",
        ),
        (
            "schedule: {name: {grid: [cosine, multistep]}, gamma: 0.5}\n",
            "x.yaml:5:1: schedule.milestones: required with schedule.name: multistep, "
            "at schedule.name='multistep'",
        ),
    ],
)
def test_what_no_setting_reads_is_told_of_whole_settings_alone(
    refused: Refused, lines: str, mistake: str
) -> None:
    """A mistake in the only setting that would read a key does not make the key another."""
    assert refused(lines) == (mistake,)


def test_a_searched_key_that_no_setting_reads_is_refused(refused: Refused) -> None:
    """Also where one of its values is the default, which says nothing."""
    lines = "optimizer: {name: adamw, momentum: {grid: [0.5, 0.9]}}\n"

    assert refused(lines) == (
        "x.yaml:5:44: optimizer.momentum: belongs to sgd and rmsprop, adamw has no momentum "
        "(got 0.5); leave it out",
    )


def test_numbers_beyond_floats_are_refused(refused: Refused) -> None:
    """A whole number with hundreds of digits is no float."""
    assert refused("", f"optimizer.lr={{grid: [1, 1{'0' * 400}]}}")[0].endswith(
        f": optimizer.lr: must be a number (got 1{'0' * 59}...)"
    )
