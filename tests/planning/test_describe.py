"""A plan as it is read before anything starts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.planning.cluster import Cluster, Node
from orchestrator.planning.describe import describe_plan
from orchestrator.planning.numbers import Limits
from orchestrator.planning.resolve import resolve_search
from orchestrator.planning.search_plan import SearchPlan
from orchestrator.specs.load import load_spec
from tests.plans import DIGITS

MakePlan = Callable[..., SearchPlan]

DEMO = Path(__file__).parents[2] / "experiments" / "digits-label-smoothing.yaml"

DEMO_TEXT = """\
  settings   7: loss.label_smoothing = 0 (baseline), 0.05, 0.1, 0.2, 0.3, 0.4, 0.6
  seeds      5: 0 to 4
  runs       35, 2 at a time
  lanes      2, each 1 worker with 1 thread on CPU
  machine    this machine, 2 CPUs, no GPU; deterministic: true
  batch      64 images per step, 64 per worker
  training   small_cnn on digits, 600 images of 8x8, 20% of the labels redrawn, 12 epochs,
             sgd, lr 0.1, one_cycle (first setting)
  judged by  val/accuracy, higher is better, last epoch
  results    /data/runs/digits-label-smoothing/3
  MLflow     sqlite:////data/runs/mlflow.db"""


def find_row(text: str, title: str) -> str:
    """The text beside a title."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {title} ")]
    return line[len(title) + 2 :].strip()


def test_the_demos_plan_is_read_at_a_glance() -> None:
    """Settings, seeds, runs, lanes, batch, training, judge and places, a line each."""
    plan = resolve_search(
        load_spec(DEMO),
        Cluster(nodes=(Node(name="here", cpus=2, gpus=0),)),
        storage=Path("/data/runs"),
        number=3,
        inputs=DIGITS,
    )

    title, _, rows = describe_plan(plan, width=90).partition("\n")
    assert title == f"digits-label-smoothing#3: {plan.description}"
    assert rows == DEMO_TEXT


def test_a_single_run_says_that_nothing_is_searched(make_plan: MakePlan) -> None:
    """One setting, one seed, one run."""
    text = describe_plan(make_plan())

    assert text.splitlines()[0] == "demo#3"
    assert find_row(text, "settings") == "1 (nothing is searched)"
    assert find_row(text, "seeds") == "1: 0"
    assert find_row(text, "runs") == "1"
    assert "(first setting)" not in text


def test_every_run_is_listed_with_its_number(make_plan: MakePlan) -> None:
    """As `--run N` takes it."""
    plan = make_plan(loss={"label_smoothing": {"grid": [0, 0.1]}}, search={"seeds": 5})

    lines = describe_plan(plan, every_run=True).splitlines()

    start = lines.index("runs")
    assert lines[start + 1] == "   1  label_smoothing=0,seed=0"
    assert lines[start + 10] == "  10  label_smoothing=0.1,seed=4"
    assert len(lines) == start + 11


def test_settings_of_several_keys_name_each(make_plan: MakePlan) -> None:
    """By the keys' last parts."""
    plan = make_plan(
        loss={"label_smoothing": {"grid": [0, 0.1]}}, optimizer={"lr": {"grid": [0.5]}}
    )

    assert find_row(describe_plan(plan), "settings") == (
        "2: label_smoothing=0,lr=0.5 (baseline); label_smoothing=0.1,lr=0.5"
    )


def test_many_settings_are_counted(make_plan: MakePlan) -> None:
    """Twelve are named, the thirteenth and the fourteenth are two more."""
    plan = make_plan(training={"epochs": {"grid": list(range(1, 15))}})

    assert find_row(describe_plan(plan), "settings") == (
        "14: training.epochs = 1 (baseline), 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, and 2 more"
    )


def test_batches_that_workers_share_unequally_say_both_shares(make_plan: MakePlan) -> None:
    """Of 25 images one worker gets 13 and the other 12."""
    plan = make_plan(data={"batch_size": 25}, resources={"num_workers": 2})

    text = describe_plan(plan)

    assert find_row(text, "batch") == "25 images per step, 12 or 13 per worker"
    assert find_row(text, "lanes") == "1, each 2 workers with 1 thread on CPU"


def test_searched_batch_sizes_are_given_as_a_range(make_plan: MakePlan) -> None:
    """From the smallest to the largest."""
    plan = make_plan(data={"batch_size": {"grid": [50, 20, 40]}})

    assert find_row(describe_plan(plan), "batch") == "20 to 50 images per step, by setting"


def test_gpus_rates_and_notes_are_named(make_plan: MakePlan) -> None:
    """A GPU for each worker, a rate for the head, an idle GPU, a metric's caveat."""
    plan = make_plan(
        cluster=Cluster(nodes=(Node(name="a", cpus=4, gpus=3),), address="10.0.0.1:6379"),
        resources={"num_workers": 2},
        fine_tune={"backbone_lr": 0.001, "head_lr": 0.1},
        data={"label_noise": {"grid": [0.0, 0.2]}},
        search={"metric": "train/loss", "allow_confounded_metric": True},
        training={"select": "best"},
    )

    text = describe_plan(plan, width=1000)

    assert find_row(text, "lanes") == "1, each 2 workers with 1 thread on 1 GPU"
    assert find_row(text, "machine") == (
        "Ray at 10.0.0.1:6379: 1 node, 4 CPUs, 3 GPUs; deterministic: false"
    )
    assert "sgd, head lr 0.1; backbone lr 0.001, constant" in find_row(text, "training")
    assert find_row(text, "judged by") == "train/loss, lower is better, best epoch"
    assert [line.split(maxsplit=1)[1] for line in text.splitlines() if "  note" in line] == [
        *plan.notes,
        plan.caveat,
    ]
    assert plan.notes == (
        "1 GPU stays idle; another resources.num_workers or resources.cpus_per_worker would "
        "use it",
    )


def test_lines_fit_the_terminal(make_plan: MakePlan) -> None:
    """At 60 columns long rows are continued under their text."""
    plan = make_plan(loss={"label_smoothing": {"grid": [0, 0.05, 0.1, 0.15, 0.2, 0.25]}})

    lines = describe_plan(plan, width=60).splitlines()

    assert max(map(len, lines)) <= 60
    assert lines[1:3] == [
        "  settings   6: loss.label_smoothing = 0 (baseline), 0.05,",
        "             0.1, 0.15, 0.2, 0.25",
    ]


@pytest.mark.parametrize(
    ("limits", "note"),
    [
        (Limits(overfit_batches=2), "trains on the same 2 batches in every epoch"),
        (Limits(overfit_batches=1), "trains on the same 1 batch in every epoch"),
        (Limits(fast_dev_run=3), "a quick try: 3 batches of one epoch, nothing is recorded"),
        (Limits(fast_dev_run=1), "a quick try: 1 batch of one epoch, nothing is recorded"),
    ],
)
def test_shortcuts_are_named(make_plan: MakePlan, limits: Limits, note: str) -> None:
    """What is not the whole training says so, before all other notes."""
    plan = make_plan(limits=limits)

    assert find_row(describe_plan(plan), "note") == note
    assert "  note " not in describe_plan(make_plan())
