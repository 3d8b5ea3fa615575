"""Scores, and those of auxiliary heads, out of what a network gives."""

from collections import namedtuple

import pytest
import torch
from torch import nn

from orchestrator.errors import TrainingError
from orchestrator.training.model.outputs import read_outputs

Inception = namedtuple("Inception", ["logits", "aux_logits"])
GoogLeNet = namedtuple("GoogLeNet", ["logits", "aux_logits2", "aux_logits1"])

MODEL = nn.Identity()


def test_a_tensor_is_the_scores() -> None:
    """Most networks have one head, and all have one in evaluation."""
    scores = torch.ones(2, 3)

    logits, auxiliary = read_outputs(scores, MODEL)

    assert logits is scores
    assert auxiliary == ()


@pytest.mark.parametrize(("kind", "weights"), [(Inception, [0.4]), (GoogLeNet, [0.3, 0.3])])
def test_auxiliary_scores_come_with_their_weights(
    kind: type[tuple[torch.Tensor, ...]], weights: list[float]
) -> None:
    """0.4 in Inception-v3, 0.3 each in GoogLeNet."""
    scores = [torch.full((2, 3), float(at)) for at in range(1 + len(weights))]

    logits, auxiliary = read_outputs(kind(*scores), MODEL)

    assert logits is scores[0]
    assert [weight for weight, _ in auxiliary] == weights
    assert all(found is given for (_, found), given in zip(auxiliary, scores[1:], strict=True))


def test_a_head_that_gave_nothing_is_left_out() -> None:
    """Inception's second field may be None."""
    assert read_outputs(Inception(torch.ones(1, 2), None), MODEL)[1] == ()


def test_anything_else_is_refused() -> None:
    """A loss of a dict would be a mystery."""
    message = r"^model\.architecture: Identity gives a dict; return one tensor of class scores$"

    with pytest.raises(TrainingError, match=message):
        read_outputs({"logits": torch.ones(1, 2)}, MODEL)
