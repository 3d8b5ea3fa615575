"""Keys `optimizer` and `fine_tune`, decided: every rate worked by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.planning.search_plan import SearchPlan
from orchestrator.planning.section_plans import GroupPlan, UnfreezePlan

MakePlan = Callable[..., SearchPlan]


@pytest.mark.parametrize(
    ("optimizer", "lr", "arguments"),
    [
        ({"name": "sgd"}, 0.1, {"momentum": 0.9}),
        ({"name": "sgd", "lr": 0.5, "momentum": 0.0}, 0.5, {"momentum": 0.0}),
        ({"name": "adamw"}, 0.001, {}),
        ({"name": "adamw", "lr": 0.01}, 0.01, {}),
        ({"name": "rmsprop"}, 0.001, {"momentum": 0.0}),
        (
            {"name": "sgd", "arguments": {"nesterov": True}},
            0.1,
            {"momentum": 0.9, "nesterov": True},
        ),
    ],
)
def test_each_optimizer_has_its_usual_rate(
    make_plan: MakePlan, optimizer: dict[str, Any], lr: float, arguments: dict[str, Any]
) -> None:
    """0.1 with momentum 0.9 for SGD, 0.001 for most; what else is given goes to torch."""
    decided = make_plan(optimizer={**optimizer, "weight_decay": 0.25}).runs[0].numbers.optimizer

    assert (decided.name, decided.lr) == (optimizer["name"], lr)
    assert (decided.arguments, decided.weight_decay) == (arguments, 0.25)


def test_a_searched_optimizer_gets_its_own_usual_rate(make_plan: MakePlan) -> None:
    """What None stands for is decided setting by setting."""
    plan = make_plan(optimizer={"name": {"grid": ["sgd", "adamw"]}})

    assert [run.numbers.optimizer.lr for run in plan.runs] == [0.1, 0.001]


def test_without_fine_tuning_all_parameters_learn_alike(make_plan: MakePlan) -> None:
    """No group is made."""
    assert make_plan().runs[0].numbers.fine_tune.groups == ()


def test_the_short_form_is_the_head_and_then_the_rest(make_plan: MakePlan) -> None:
    """Two rules, of which the first takes the classifying layers; 0 stays 0."""
    plan = make_plan(
        fine_tune={"backbone_lr": 0, "head_lr": 0.5}, optimizer={"weight_decay": 0.1}
    )

    assert plan.runs[0].numbers.fine_tune.groups == (
        GroupPlan(name="head", match=None, type=None, head=True, lr=0.5, weight_decay=0.1),
        GroupPlan(name="backbone", match=None, type=None, head=False, lr=0.0, weight_decay=0.1),
    )


def test_rules_have_a_rate_a_factor_or_none(make_plan: MakePlan) -> None:
    """A factor is on the optimizer's rate; freezing is a rate of 0; decay may be its own."""
    plan = make_plan(
        optimizer={"lr": 0.2, "weight_decay": 0.1},
        fine_tune={
            "groups": [
                {"match": "^head", "lr": 0.5, "weight_decay": 0.0},
                {"type": "BatchNorm2d", "freeze": True},
                {"match": "weight$", "lr_mult": 0.25},
                {"match": ".*"},
            ]
        },
    )

    groups = plan.runs[0].numbers.fine_tune.groups
    assert [(group.lr, group.weight_decay) for group in groups] == [
        (0.5, 0.0),
        (0.0, 0.1),
        (0.05, 0.1),
        (0.2, 0.1),
    ]
    assert [(group.match, group.type) for group in groups][:2] == [
        ("^head", None),
        (None, "BatchNorm2d"),
    ]


@pytest.mark.parametrize(("scale", "factor"), [("linear", 2.0), ("sqrt", 2.0**0.5)])
def test_every_rate_grows_with_the_batch_where_that_is_asked_for(
    make_plan: MakePlan, scale: str, factor: float
) -> None:
    """64 images, meant for 32: the optimizer's rate, groups' and those of later epochs."""
    asked = {"scale_lr": scale, "reference_batch_size": 32}
    plain = make_plan(optimizer={"lr": 0.3, **asked})
    tuned = make_plan(
        optimizer=asked,
        fine_tune={
            "backbone_lr": 0.1,
            "head_lr": 1.0,
            "unfreeze": [{"epoch": 2, "match": "0", "lr": 0.5}],
        },
    )

    assert plain.runs[0].numbers.optimizer.lr == pytest.approx(0.3 * factor)
    tune = tuned.runs[0].numbers.fine_tune
    assert [group.lr for group in tune.groups] == pytest.approx([factor, 0.1 * factor])
    assert tune.unfreeze == (UnfreezePlan(epoch=2, match="0", lr=0.5 * factor),)
    assert plain.notes == (
        f"learning rates are multiplied by {factor:g}: batches of 64 images, meant for 32 "
        f"({scale})",
    )
