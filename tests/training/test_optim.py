"""Keys `optimizer` and `schedule`: every rate of every step, against rates worked by hand."""

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from orchestrator.planning.run_plan import OptimizerPlan, SchedulePlan
from orchestrator.training.model.build import SmallCNN
from orchestrator.training.optim import build_optimizer, build_schedule


def plan_optimizer(**changes: Any) -> OptimizerPlan:
    """SGD with a rate of 1."""
    values: dict[str, Any] = {
        "name": "sgd",
        "backbone_lr": 1.0,
        "head_lr": 1.0,
        "momentum": 0.9,
        "weight_decay": 0.25,
    }
    return OptimizerPlan(**(values | changes))


def list_rates(
    name: str, *, warmup_epochs: float = 0.0, epochs: int = 2, steps: int = 4
) -> list[float]:
    """The rate of every optimizer step of a training whose highest rate is 1."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    plan = SchedulePlan(name=name, warmup_epochs=warmup_epochs)  # type: ignore[arg-type]
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
    optimizer = build_optimizer(plan_optimizer(), SmallCNN(channels=1, num_classes=2))

    assert type(optimizer) is SGD
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1.0, 0.9, 0.25)
    assert (group["nesterov"], group["dampening"]) == (False, 0)


def test_adamw_gets_its_rate_and_its_weight_decay() -> None:
    """Its betas are torch's own: 0.9 and 0.999."""
    plan = plan_optimizer(name="adamw", backbone_lr=0.01, head_lr=0.02, momentum=0.0)

    optimizer = build_optimizer(plan, SmallCNN(channels=1, num_classes=2))

    assert type(optimizer) is AdamW
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}


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
        SchedulePlan(name="one_cycle", warmup_epochs=0.0),
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
    optimizer = build_optimizer(
        plan_optimizer(backbone_lr=0.1, head_lr=1.0), SmallCNN(channels=1, num_classes=2)
    )
    build_schedule(
        SchedulePlan(name="one_cycle", warmup_epochs=0.0),
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
