"""Which parameter learns at which rate, from which epoch on; every name listed by hand."""

from importlib.util import find_spec
from typing import Any

import pytest
from torch import nn

from orchestrator.errors import SpecError
from orchestrator.planning.section_plans import GroupPlan, UnfreezePlan
from orchestrator.training.group_table import describe_groups
from orchestrator.training.layers import layer_distances
from orchestrator.training.model.meta import without_memory
from orchestrator.training.param_groups import (
    ParamGroup,
    group_parameters,
    trainable_names,
)
from tests import plans

HEAD = {"head.weight", "head.bias"}


def network() -> nn.Module:
    """Two numbered blocks of a convolution and its normalisation, and a head."""
    model = nn.Module()
    model.block0 = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2))
    model.block1 = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    model.head = nn.Linear(2, 3)
    return model


def rule(**changes: Any) -> GroupPlan:
    """A rule at a rate of 1 with a decay of 0.1."""
    values: dict[str, Any] = {
        "name": "rule",
        "match": None,
        "type": None,
        "head": False,
        "lr": 1.0,
        "weight_decay": 0.1,
    }
    return GroupPlan(**(values | changes))


def group(*rules: GroupPlan, decay_all: bool = True, **changes: Any) -> list[ParamGroup]:
    """The groups of the network by these rules."""
    return group_parameters(
        network(),
        plans.fine_tune_plan(groups=rules, **changes),
        plans.optimizer_plan(lr=0.5, weight_decay=0.2, decay_norm_and_bias=decay_all),
        head=HEAD,
    )


def rates(groups: list[ParamGroup]) -> dict[str, float]:
    """Every parameter's rate."""
    return {name: group.lr for group in groups for name in group.names}


def test_without_rules_there_is_one_group_in_the_models_order() -> None:
    """As a loop written by hand would have it."""
    (alone,) = group()

    assert alone.names == tuple(name for name, _ in network().named_parameters())
    assert (alone.lr, alone.weight_decay, alone.first_epoch) == (0.5, 0.2, 1)


def test_the_first_rule_that_takes_a_parameter_has_it() -> None:
    """Expressions are searched for; a later rule takes what is left."""
    found = rates(group(rule(match="^block1", lr=3.0), rule(match="weight", lr=2.0), rule()))

    assert found == {
        "block0.0.weight": 2.0,
        "block0.1.weight": 2.0,
        "block0.1.bias": 1.0,
        "block1.0.weight": 3.0,
        "block1.0.bias": 3.0,
        "block1.1.weight": 3.0,
        "block1.1.bias": 3.0,
        "head.weight": 2.0,
        "head.bias": 1.0,
    }


def test_a_rule_may_name_a_kind_of_layer() -> None:
    """Both normalisations, subclasses too, and nothing else."""
    found = rates(group(rule(type="BatchNorm2d", lr=9.0), rule()))

    assert [name for name, lr in found.items() if lr == 9.0] == [
        "block0.1.weight",
        "block0.1.bias",
        "block1.1.weight",
        "block1.1.bias",
    ]
    assert rates(group(rule(type="_BatchNorm", lr=9.0), rule())) == found


def test_the_head_is_taken_where_a_rule_asks_for_it() -> None:
    """The short form of fine-tuning."""
    found = rates(group(rule(head=True, lr=9.0), rule(lr=0.0)))

    assert {name for name, lr in found.items() if lr == 9.0} == HEAD
    assert {lr for name, lr in found.items() if name not in HEAD} == {0.0}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [rule(match="^block")],
            "fine_tune.groups: 2 parameters match no rule, such as 'head.weight'; "
            "end the list with {match: '.*'}",
        ),
        (
            [rule(match="layer4"), rule()],
            "fine_tune.groups: rule 1, 'layer4', matches no parameter; names are such as "
            "'block0.0.weight' and 'head.bias'",
        ),
        (
            [rule(), rule(match="head")],
            "fine_tune.groups: rule 2, 'head', takes no parameter: earlier rules have all that "
            "it matches",
        ),
        (
            [rule(type="LayerNorm"), rule()],
            "fine_tune.groups: rule 1, 'LayerNorm', matches no parameter; names are such as "
            "'block0.0.weight' and 'head.bias'",
        ),
    ],
)
def test_gaps_and_dead_rules_are_refused(rules: list[GroupPlan], message: str) -> None:
    """Either means that something else was trained than was meant."""
    with pytest.raises(SpecError) as caught:
        group(*rules)

    assert str(caught.value) == message


def test_a_network_without_parameters_is_refused() -> None:
    """By its name."""
    with pytest.raises(SpecError, match=r"model\.architecture: Flatten has no parameters"):
        group_parameters(
            nn.Flatten(), plans.fine_tune_plan(), plans.optimizer_plan(), head=set()
        )


def test_what_the_network_itself_has_frozen_stays_so() -> None:
    """Whatever the rules say of the rest; a rule for it alone is refused."""
    model = network()
    model.block0.requires_grad_(False)
    optimizer = plans.optimizer_plan(lr=0.5, weight_decay=0.2)
    frozen = ("block0.0.weight", "block0.1.weight", "block0.1.bias")

    for tune in (
        plans.fine_tune_plan(),
        plans.fine_tune_plan(groups=(rule(head=True), rule(lr=0.5)), layer_decay=0.5),
        plans.fine_tune_plan(unfreeze=(UnfreezePlan(epoch=2, match="weight", lr=0.3),)),
    ):
        groups = group_parameters(model, tune, optimizer, head=HEAD)
        assert groups[0].name == "frozen by the network itself"
        assert groups[0].names == frozen
        assert sum(len(part.names) for part in groups) == 9
        for epoch in (1, 2):
            assert not trainable_names(groups, epoch) & set(frozen)

    with pytest.raises(SpecError, match="rule 1, 'block0', matches no parameter"):
        group_parameters(
            model,
            plans.fine_tune_plan(groups=(rule(match="block0"), rule())),
            optimizer,
            head=HEAD,
        )


def test_normalisation_and_biases_may_go_without_decay() -> None:
    """Weights of the two convolutions and of the head keep theirs."""
    groups = group(decay_all=False)

    decayed = {name for group in groups for name in group.names if group.weight_decay > 0}
    assert decayed == {"block0.0.weight", "block1.0.weight", "head.weight"}
    assert {group.lr for group in groups} == {0.5}


def test_the_head_learns_first_and_then_all_does() -> None:
    """Two epochs of the head alone."""
    groups = group(linear_probe_epochs=2)

    everything = {name for name, _ in network().named_parameters()}
    assert trainable_names(groups, 1) == trainable_names(groups, 2) == HEAD
    assert trainable_names(groups, 3) == everything


def test_layers_are_unfrozen_epoch_by_epoch_at_rates_of_their_own() -> None:
    """What no rule of unfreezing names goes on as it was; a frozen group can begin to learn."""
    groups = group(
        rule(match="^head"),
        rule(lr=0.0),
        unfreeze=(
            UnfreezePlan(epoch=3, match="block1", lr=0.3),
            UnfreezePlan(epoch=5, match="block", lr=0.2),
        ),
    )

    found = [trainable_names(groups, epoch) for epoch in (1, 2, 3, 4, 5)]
    assert found[0] == found[1] == HEAD
    assert found[2] - HEAD == {name for name in rates(groups) if name.startswith("block1")}
    assert found[2] == found[3]
    assert found[4] == set(rates(groups))
    assert rates(groups)["block1.0.weight"] == 0.3
    assert rates(groups)["block0.0.weight"] == 0.2


def test_a_rule_of_unfreezing_that_names_nothing_is_refused() -> None:
    """Earlier rules have all of block1."""
    with pytest.raises(SpecError) as caught:
        group(
            unfreeze=(
                UnfreezePlan(epoch=3, match="block1", lr=0.3),
                UnfreezePlan(epoch=5, match="block1.0", lr=0.2),
            )
        )

    assert str(caught.value) == (
        "fine_tune.unfreeze: rule 2, 'block1.0', matches no parameter that is left"
    )


def test_rates_fall_layer_by_layer_away_from_the_head() -> None:
    """The head has 1, the block before it 0.5, the one before that 0.25."""
    groups = group(rule(name="a"), layer_decay=0.5)

    assert {part.name for part in groups} == {
        "a",
        "a, 1 before the head",
        "a, 2 before the head",
    }
    assert rates(groups) == {
        "block0.0.weight": 0.25,
        "block0.1.weight": 0.25,
        "block0.1.bias": 0.25,
        "block1.0.weight": 0.5,
        "block1.0.bias": 0.5,
        "block1.1.weight": 0.5,
        "block1.1.bias": 0.5,
        "head.weight": 1.0,
        "head.bias": 1.0,
    }


@pytest.mark.parametrize(
    ("architecture", "layers", "some"),
    [
        ("resnet18", 10, {"conv1.weight": 9, "bn1.bias": 9, "layer4.1.bn2.weight": 1}),
        (
            "vit_b_16",
            14,
            {
                "class_token": 13,
                "conv_proj.weight": 13,
                "encoder.layers.encoder_layer_0.mlp.0.weight": 12,
                "encoder.ln.weight": 1,
            },
        ),
        ("convnext_tiny", 23, {"features.0.0.weight": 22, "features.7.2.layer_scale": 1}),
        (
            "regnet_y_400mf",
            18,
            {
                "stem.0.weight": 17,
                "trunk_output.block4.block4-5.f.a.0.weight": 1,
                "trunk_output.block4.block4-4.f.a.0.weight": 2,
            },
        ),
    ],
)
def test_layers_of_known_networks_are_counted_from_the_head(
    architecture: str, layers: int, some: dict[str, int]
) -> None:
    """ResNet-18 has 8 blocks, ViT-B 12, RegNet 1 + 3 + 6 + 6; a stem and a head beside them."""
    models = pytest.importorskip("torchvision").models
    with without_memory():
        model = models.get_model(architecture, weights=None)
    head = {name for name, _ in list(model.named_parameters())[-2:]}

    found = layer_distances(model, head)

    assert sorted(set(found.values())) == list(range(layers))
    assert {name: found[name] for name in some} == some
    assert {found[name] for name in head} == {0}


def test_auxiliary_heads_are_no_layers_of_what_they_branch_off() -> None:
    """Inception's last block is next to the head, whatever is registered between them."""
    models = pytest.importorskip("torchvision").models
    with without_memory():
        model = models.get_model("inception_v3", weights=None, init_weights=True)
    head = {f"{part}.{kind}" for part in ("AuxLogits.fc", "fc") for kind in ("weight", "bias")}

    found = layer_distances(model, head)

    assert found["AuxLogits.fc.weight"] == found["fc.weight"] == 0
    assert found["AuxLogits.conv0.conv.weight"] == found["AuxLogits.conv1.conv.weight"] == 1
    assert [found[f"Mixed_{name}.branch1x1.conv.weight"] for name in ("7c", "7b")] == [1, 2]
    assert found["Mixed_7a.branch3x3_1.conv.weight"] == 3
    assert found["Mixed_6e.branch1x1.conv.weight"] == 4
    assert found["Conv2d_1a_3x3.conv.weight"] == 16


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_blocks_within_the_stages_of_timm_are_layers() -> None:
    """As they are of torchvision's network of the same name, which numbers them otherwise."""
    import timm

    with without_memory():
        model = timm.create_model("convnext_tiny", pretrained=False)
    found = layer_distances(model, {"head.fc.weight", "head.fc.bias"})

    assert found["stages.3.blocks.2.conv_dw.weight"] == 1
    assert found["stages.3.blocks.0.conv_dw.weight"] == 3
    assert found["stages.0.blocks.0.conv_dw.weight"] > 18
    assert len(set(found.values())) == max(found.values()) + 1


def test_groups_are_counted() -> None:
    """Tensors and parameters of each; what never learns has no first epoch."""
    rows = describe_groups(group(rule(head=True), rule(name="rest", lr=0.0)), network())

    assert [list(row.values()) for row in rows] == [
        ["rest", 7, 2 + 4 + 4 + 2 + 4, 0.0, 0.1, None],
        ["rule", 2, 9, 1.0, 0.1, 1],
    ]
