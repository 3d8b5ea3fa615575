"""What a network's forward gives: scores, in training also those of auxiliary heads."""

from typing import Any, Final

from torch import Tensor, nn

from orchestrator.errors import TrainingError

AuxiliaryLogits = tuple[tuple[float, Tensor], ...]
"""Weight in the loss, and scores (B, num_classes), of each auxiliary head."""

_AUXILIARY: Final = {
    # Szegedy et al. 2015, section 5, arXiv:1409.4842.
    ("logits", "aux_logits2", "aux_logits1"): 0.3,
    # The weight of TensorFlow's and PyTorch's reference training of Inception-v3.
    ("logits", "aux_logits"): 0.4,
}
"""Field names of torchvision's outputs to the weight of each auxiliary head."""


def read_outputs(output: Any, model: nn.Module) -> tuple[Tensor, AuxiliaryLogits]:  # noqa: ANN401
    """Take a forward's result apart, in training and in evaluation.

    The loss is that of the logits plus weight times that of each auxiliary head.

    Args:
        output: What `model` gave: a tensor, or GoogLeNet's or Inception's tuple.
        model: The network, for messages.

    Returns:
        Logits (B, num_classes), and the auxiliary heads' weighted ones; none in evaluation.

    Raises:
        TrainingError: The result is neither.
    """
    if isinstance(output, Tensor):
        return output, ()
    weight = _AUXILIARY.get(getattr(output, "_fields", ()))
    if weight is None:
        raise TrainingError(
            f"model.architecture: {type(model).__name__} gives a {type(output).__name__}; "
            "return one tensor of class scores"
        )
    logits, *others = output
    return logits, tuple((weight, scores) for scores in others if scores is not None)
