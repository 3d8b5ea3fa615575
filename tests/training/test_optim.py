"""Keys `optimizer` and `schedule`: every rate of every step, against rates worked by hand."""

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from orchestrator.errors import SpecError
from orchestrator.specs.names import OPTIMIZERS, WITH_MOMENTUM
from orchestrator.training.optim import build_optimizer, build_schedule
from orchestrator.training.param_groups import ParamGroup
from tests import plans


def make_optimizer(*rates: float, **changes: Any) -> Optimizer:
    """Built over one linear layer per rate, each a group of its own."""
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in rates])
    groups = [
        ParamGroup(
            name=f"group {i}",
            names=(f"{i}.weight", f"{i}.bias"),
            lr=rate,
            weight_decay=changes.get("weight_decay", 0.25),
            first_epoch=1,
        )
        for i, rate in enumerate(rates)
    ]
    plan = plans.optimizer_plan(**{"weight_decay": 0.25, **changes})
    return build_optimizer(plan, groups, model)


def list_rates(name: str, *, epochs: int = 2, steps: int = 4, **changes: Any) -> list[float]:
    """The rate of every optimizer step of a training whose highest rate is 1."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    plan = plans.schedule_plan(name=name, **changes)
    schedule = build_schedule(plan, optimizer, epochs=epochs, steps_per_epoch=steps)
    return step_through(optimizer, schedule, epochs * steps)


def step_through(optimizer: Optimizer, schedule: Any, steps: int) -> list[float]:
    """The rate of every step, the schedule stepped after each."""
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def test_sgd_gets_every_argument_of_its_plan() -> None:
    """Rate, momentum and weight decay, without Nesterov's variant or dampening."""
    optimizer = make_optimizer(1.0)

    assert type(optimizer) is SGD
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1.0, 0.9, 0.25)
    assert (group["nesterov"], group["dampening"]) == (False, 0)


def test_further_arguments_reach_torch() -> None:
    """A list of betas becomes the pair that torch wants."""
    plan = {"name": "adamw", "arguments": {"betas": [0.8, 0.9], "eps": 1e-6}}

    optimizer = make_optimizer(0.01, 0.02, **plan)

    assert type(optimizer) is AdamW
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.9)}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-6}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_that_a_spec_may_name_takes_a_step(name: str) -> None:
    """It is torch's class of that name, and it moves the weights."""
    arguments = {"momentum": 0.5} if name in WITH_MOMENTUM else {}
    decay = 0.0 if name == "rprop" else 0.25
    optimizer = make_optimizer(0.1, name=name, arguments=arguments, weight_decay=decay)
    (weight, _) = optimizer.param_groups[0]["params"]
    before = weight.detach().clone()

    weight.sum().backward()
    optimizer.step()

    assert type(optimizer).__name__.lower() == name
    assert not torch.equal(weight, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "adamw", "arguments": {"nesterov": True}},
            "optimizer.arguments.nesterov: no such argument; torch's adamw takes betas, ",
        ),
        (
            {"arguments": {"nesterov": True}},
            "optimizer.arguments: torch's sgd: Nesterov momentum requires a momentum",
        ),
        (
            {"name": "rprop", "arguments": {}},
            "optimizer.weight_decay: torch's rprop has none (got 0.25); leave it out",
        ),
    ],
)
def test_what_torch_does_not_take_is_refused(changes: dict[str, Any], message: str) -> None:
    """By name, before a step is taken."""
    with pytest.raises(SpecError) as caught:
        make_optimizer(0.1, **changes)

    assert str(caught.value).startswith(message)


def test_what_never_learns_is_not_optimised() -> None:
    """A rate of 0 leaves its parameters out; nothing but such rates is refused."""
    optimizer = make_optimizer(0.0, 0.5)

    assert [group["name"] for group in optimizer.param_groups] == ["group 1"]
    with pytest.raises(
        SpecError, match="every learning rate is 0, so that nothing would learn"
    ):
        make_optimizer(0.0, 0.0)


def test_steps_fall_by_gamma_every_few_epochs() -> None:
    """Every two epochs of two steps: three falls in seven epochs."""
    rates = list_rates("step", epochs=7, steps=2, step_epochs=2, gamma=0.5)

    assert rates == [1.0] * 4 + [0.5] * 4 + [0.25] * 4 + [0.125] * 2


def test_milestones_fall_after_their_epochs() -> None:
    """After epochs 1 and 3 of four, two steps each."""
    rates = list_rates("multistep", epochs=4, steps=2, milestones=(1, 3), gamma=0.1)

    assert rates == pytest.approx([1.0] * 2 + [0.1] * 4 + [0.01] * 2)


def test_falls_count_from_the_beginning_also_after_a_warm_up() -> None:
    """A warm-up of one epoch does not put the milestone off."""
    rates = list_rates(
        "multistep", epochs=3, steps=2, milestones=(2,), gamma=0.1, warmup_epochs=1.0
    )

    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 0.1, 0.1])


def test_a_constant_rate_is_constant() -> None:
    """Every one of the eight steps has the peak's rate."""
    assert list_rates("constant") == [1.0] * 8


def test_a_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    """One epoch of four steps rises by fifths: the peak itself is the fifth step's."""
    rates = list_rates("constant", warmup_epochs=1.0)

    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0])


def test_a_warm_up_may_last_a_fraction_of_an_epoch() -> None:
    """Half an epoch of four steps is two steps: a third, two thirds, then the peak."""
    rates = list_rates("constant", warmup_epochs=0.5)

    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_a_cosine_falls_from_the_peak_towards_zero() -> None:
    """Step n of 8 has (1 + cos(n/8 pi)) / 2 of the peak; half of it after half the steps."""
    rates = list_rates("cosine")

    assert rates == pytest.approx([(1 + cos(pi * n / 8)) / 2 for n in range(8)])
    assert rates[4] == pytest.approx(0.5)


def test_a_cosine_begins_where_its_warm_up_ends() -> None:
    """Four steps rise, the other four fall as a cosine over four steps."""
    rates = list_rates("cosine", warmup_epochs=1.0)

    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4:] == pytest.approx([(1 + cos(pi * n / 4)) / 2 for n in range(4)])


@pytest.mark.parametrize(("warmup_epochs", "share"), [(0.0, 0.3), (1.0, 0.5), (0.5, 0.25)])
def test_one_cycle_is_torchs_own(warmup_epochs: float, share: float) -> None:
    """The warm-up is the rising share of the steps, 0.3 where none is given; bit for bit."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    own = OneCycleLR(
        optimizer, max_lr=1.0, total_steps=8, pct_start=share, cycle_momentum=False
    )

    assert list_rates("one_cycle", warmup_epochs=warmup_epochs) == step_through(
        optimizer, own, 8
    )


def test_one_cycle_begins_at_a_25th_of_the_peak_and_ends_near_zero() -> None:
    """It rises over the first 30 % of 20 steps, so the sixth step, number 5, has the peak."""
    rates = list_rates("one_cycle", epochs=2, steps=10)

    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[5] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)


def test_one_cycle_leaves_the_momentum_alone() -> None:
    """The momentum of the plan holds in every step."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.7)
    schedule = build_schedule(
        plans.schedule_plan(),
        optimizer,
        epochs=1,
        steps_per_epoch=5,
    )

    momenta = []
    for _ in range(5):
        optimizer.step()
        schedule.step()
        momenta.append(optimizer.param_groups[0]["momentum"])

    assert momenta == [0.7] * 5


def test_each_group_of_parameters_has_its_own_peak() -> None:
    """Backbone and head rise and fall together, each to its own rate."""
    optimizer = make_optimizer(0.1, 1.0)
    build_schedule(
        plans.schedule_plan(),
        optimizer,
        epochs=1,
        steps_per_epoch=5,
    )

    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.004, 0.04])


def test_one_cycle_may_warm_up_for_a_single_step() -> None:
    """A tenth of ten steps: the first step has the peak, and torch does not divide by zero."""
    rates = list_rates("one_cycle", warmup_epochs=0.1, epochs=1, steps=10)

    assert rates[0] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)


def test_one_cycle_may_last_a_single_step() -> None:
    """A dry run of one batch has one step, at the end of the course."""
    assert list_rates("one_cycle", epochs=1, steps=1) == pytest.approx([1 / 25 / 1e4])
