"""One step after the other: parts of a batch, clipping, averages, freezing and thawing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from orchestrator.planning.run_plan import Assignment
from orchestrator.planning.section_plans import GroupPlan, UnfreezePlan
from orchestrator.training.averaging import Average
from orchestrator.training.freezing import set_trainable
from orchestrator.training.loss import Targets
from orchestrator.training.outputs import digest_weights
from orchestrator.training.state import TrainingState
from tests.device import DEVICE

MakeAssignment = Callable[..., Assignment]
Begin = Callable[..., TrainingState]


class TenDigits:
    """Labels of ten classes, as many of each."""

    classes: Sequence[str] = tuple("0123456789")
    class_counts: Sequence[int] = (8,) * 10


@pytest.fixture
def begin(make_assignment: MakeAssignment, worker: Any) -> Begin:
    """Begins a training of ten steps an epoch at a constant rate, with these sections."""

    def make(**sections: Any) -> TrainingState:
        sections = {"schedule": {"name": "constant"}, **sections}
        plan = make_assignment(**sections).plan
        state = TrainingState.begin(
            plan.numbers, plan.place, TenDigits(), worker.context, steps_per_epoch=10
        )
        state.begin_epoch(1)
        return state

    return make


def batch(size: int = 16, *, seed: int = 0) -> tuple[Tensor, Targets]:
    """Images of noise and labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(size, 1, 8, 8, generator=generator)
    labels = torch.randint(10, (size,), generator=generator)
    return images.to(DEVICE), Targets(labels.to(DEVICE))


def freeze_statistics(state: TrainingState) -> None:
    """Let batch normalisation be the same for a batch and for its parts."""
    for layer in state.model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def scale_by(state: TrainingState, factor: float) -> None:
    """Set what float16's losses are multiplied by; a scaler begins with its first loss."""
    scaler = state.precision.scaler
    scaler.scale(torch.zeros((), device=DEVICE))
    scaler.update(factor)


def weights(state: TrainingState) -> dict[str, Tensor]:
    """A copy of every parameter."""
    return {name: tensor.detach().clone() for name, tensor in state.model.named_parameters()}


def test_parts_of_a_batch_move_the_weights_as_the_whole_does(begin: Begin) -> None:
    """Sixteen images in one part, or in three of 6, 5 and 5; the loss is the same too."""
    whole, parted = begin(), begin(training={"accumulate": 3})
    for state in (whole, parted):
        freeze_statistics(state)
    images, targets = batch()

    losses = [float(state.step(images, targets, batch_size=16)) for state in (whole, parted)]

    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(parted)[name], tensor, rtol=1e-5, atol=1e-7)


def test_a_gradient_is_clipped_as_a_whole(begin: Begin) -> None:
    """A plain step at rate 1 moves all weights together by the norm that is allowed."""
    plain = {"lr": 1.0, "weight_decay": 0.0, "arguments": {"momentum": 0.0}}
    free = begin(optimizer=plain)
    held = begin(optimizer=plain, training={"clip_norm": 0.01})
    images, targets = batch()
    before = weights(free)

    moved = []
    for state in (free, held):
        state.step(images, targets, batch_size=16)
        parts = [(weights(state)[name] - before[name]).flatten() for name in before]
        moved.append(float(torch.cat(parts).norm()))

    assert moved[0] > 0.02
    assert moved[1] == pytest.approx(0.01, rel=1e-3)


def test_the_average_follows_the_weights(begin: Begin) -> None:
    """After the first step it is the weights; then 0.9 of itself and 0.1 of them, each step."""
    state = begin(training={"ema": 0.9})
    expected: dict[str, Tensor] = {}
    for seed in range(3):
        images, targets = batch(seed=seed)
        state.step(images, targets, batch_size=16)
        now = {k: v.clone() for k, v in state.model.state_dict().items()}
        for name, tensor in now.items():
            if not expected.get(name, tensor).is_floating_point():
                continue
            old = expected.get(name, tensor)
            expected[name] = 0.9 * old + 0.1 * tensor if seed else tensor

    average = state.scored_model.state_dict()
    assert state.scored_model is not state.model
    assert set(expected) < set(average)
    for name, tensor in expected.items():
        torch.testing.assert_close(average[name], tensor, rtol=1e-5, atol=1e-7)


def test_an_average_has_the_bits_of_torchs_own() -> None:
    """Of parameters and of running statistics."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=True))
    other = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True)
    average = Average(model, 0.7)

    for _ in range(5):
        model(torch.randn(4, 5)).square().sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        average.update_parameters(model)
        other.update_parameters(model)

    for name, value in other.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(average.state_dict()[name], value), name


@pytest.mark.parametrize("decay", [0.9, 0.9999])
def test_whole_numbers_are_kept_beside_an_average(decay: float) -> None:
    """Tables of indices stay as they are and batches are counted, whatever the decay.

    In floats, 163 times 0.9 and 163 times 0.1 make a bit less than 163.
    """
    model = nn.Sequential(nn.BatchNorm1d(2))
    model.register_buffer("table", torch.arange(200))
    average = Average(model, decay)

    for _ in range(20):
        model(torch.randn(4, 2))
        average.update_parameters(model)

    assert torch.equal(average.module.table, torch.arange(200))
    assert average.module[0].num_batches_tracked == 20
    assert not torch.equal(average.module[0].running_mean, model[0].running_mean)


def test_without_an_average_the_network_itself_is_scored(begin: Begin) -> None:
    """Nothing is copied."""
    state = begin()

    assert state.scored_model is state.model


def test_thawing_keeps_the_optimizers_state_and_moves_what_was_frozen(begin: Begin) -> None:
    """The head's momentum survives; the backbone stands still until its epoch, then learns."""
    state = begin(
        fine_tune={
            "groups": (
                _group(name="head", head=True, lr=0.1),
                _group(name="rest", match=".*", lr=0.0),
            ),
            "unfreeze": (UnfreezePlan(epoch=2, match="^features.0", lr=0.05),),
        }
    )
    images, targets = batch()
    before = weights(state)
    state.step(images, targets, batch_size=16)
    frozen = weights(state)
    momentum = state.optimizer.state[state.model.head.weight]["momentum_buffer"].clone()

    state.begin_epoch(2)
    kept = state.optimizer.state[state.model.head.weight]["momentum_buffer"]
    assert torch.equal(kept, momentum)
    state.step(images, targets, batch_size=16)
    thawed = weights(state)

    assert {n for n in before if not torch.equal(before[n], frozen[n])} == {
        "head.weight",
        "head.bias",
    }
    assert {n for n in before if not torch.equal(frozen[n], thawed[n])} == {
        "features.0.weight",
        "head.weight",
        "head.bias",
    }


def test_frozen_batch_normalisation_stays_as_it_is(begin: Begin) -> None:
    """Its statistics do not move, in training mode all the same; those of others do."""
    state = begin(
        fine_tune={
            "groups": (
                _group(name="first", match=r"^features\.[01]\.", lr=0.0),
                _group(name="rest", match=".*", lr=0.1),
            )
        }
    )
    images, targets = batch()

    state.step(images, targets, batch_size=16)

    counts = {
        name: int(buffer)
        for name, buffer in state.model.named_buffers()
        if name.endswith("num_batches_tracked")
    }
    assert counts == {
        "features.1.num_batches_tracked": 0,
        "features.4.num_batches_tracked": 1,
        "features.8.num_batches_tracked": 1,
    }
    assert state.model.training


def test_normalisation_without_weights_follows_its_layer() -> None:
    """One in a block that is frozen is frozen, one beside something that learns is not."""
    model = nn.ModuleDict(
        {
            "still": nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, affine=False)),
            "moving": nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, affine=False)),
        }
    )

    set_trainable(model, {"moving.0.weight", "moving.0.bias"})

    assert [model["still"][1].training, model["moving"][1].training] == [False, True]


def test_a_gradient_that_was_left_does_not_move_what_is_frozen() -> None:
    """Freezing takes the gradient away."""
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()

    set_trainable(layer, {"bias"})

    assert layer.weight.grad is None
    assert layer.bias.grad is not None


def test_bfloat16_trains_near_float32(begin: Begin) -> None:
    """Weights stay float32; ten steps end within a few thousandths of each other."""
    exact, rough = begin(), begin(training={"precision": "bfloat16"})
    losses = []
    for state in (exact, rough):
        for seed in range(10):
            images, targets = batch(seed=seed)
            loss = state.step(images, targets, batch_size=16)
        losses.append(float(loss))

    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert {tensor.dtype for tensor in weights(rough).values()} == {torch.float32}


def test_float16_gradients_are_clipped_at_their_true_size(begin: Begin) -> None:
    """They are 1,024 times as large while they are computed; the step is as long as allowed."""
    plain = {"lr": 1.0, "weight_decay": 0.0, "arguments": {"momentum": 0.0}}
    state = begin(optimizer=plain, training={"precision": "float16", "clip_norm": 0.01})
    scale_by(state, 1024.0)
    images, targets = batch()
    before = weights(state)

    loss = state.step(images, targets, batch_size=16)

    moved = [(weights(state)[name] - before[name]).flatten() for name in before]
    assert float(torch.cat(moved).norm()) == pytest.approx(0.01, rel=1e-3)
    assert loss.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_a_step_that_overflows_float16_is_left_out(begin: Begin) -> None:
    """The weights stay, and the next step is scaled less."""
    state = begin(training={"precision": "float16"})
    scale_by(state, 2.0**120)
    images, targets = batch()
    before = weights(state)

    state.step(images, targets, batch_size=16)

    assert all(torch.equal(weights(state)[name], before[name]) for name in before)
    assert state.precision.scaler.get_scale() == 2.0**119


def test_channels_last_lies_otherwise_in_memory_and_says_the_same(begin: Begin) -> None:
    """Convolutions' weights and the images; the loss agrees to float32's precision."""
    rows, pixels = begin(), begin(model={"channels_last": True})
    images, targets = batch()

    losses = [float(state.step(images, targets, batch_size=16)) for state in (rows, pixels)]

    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    convolution = pixels.model.features[3].weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    assert not convolution.is_contiguous()


def test_auxiliary_heads_count_with_their_weights(begin: Begin) -> None:
    """Inception's form of output: the second scores weigh 0.4."""
    state = begin()
    images, targets = batch()
    scores, others = torch.randn(2, 16, 10, device=DEVICE)
    # torchvision's own type of output, by the names of its fields.
    from torchvision.models.inception import InceptionOutputs

    state.replica = _Gives(InceptionOutputs(scores.requires_grad_(), others))
    expected = state.loss(scores, targets) + 0.4 * state.loss(others, targets)

    loss = state.step(images, targets, batch_size=16)
    assert loss.item() == pytest.approx(expected.item())


def test_a_compiled_network_learns_the_same(begin: Begin) -> None:
    """Two steps of each end at the same loss; the weights keep their plain names."""
    plain, compiled = begin(), begin(training={"compile": True})
    losses = []
    for state in (plain, compiled):
        for seed in range(2):
            images, targets = batch(seed=seed)
            loss = state.step(images, targets, batch_size=16)
        losses.append(float(loss))

    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert set(weights(compiled)) == set(weights(plain))
    assert digest_weights(compiled.model)


@pytest.mark.slow
def test_what_a_process_has_compiled_before_changes_nothing(begin: Begin) -> None:
    """Ten trainings with batches of other sizes: the last is compiled like the first."""
    from torch._dynamo.utils import counters

    counters.clear()
    for size in range(2, 12):
        images, targets = batch(size)
        begin(training={"compile": True}).step(images, targets, batch_size=size)

    assert counters["frames"]["ok"] == 10


class _Gives(nn.Module):
    """Answers every batch alike."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> Any:  # noqa: ARG002
        """What it was made with."""
        return self.output


def _group(**changes: Any) -> GroupPlan:
    plain = GroupPlan(name="", match=None, type=None, head=False, lr=0.1, weight_decay=0.0)
    return replace(plain, **changes)
