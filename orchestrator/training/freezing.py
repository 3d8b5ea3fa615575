"""Which parameters change and which layers stay as they are, epoch by epoch."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def set_trainable(model: nn.Module, names: set[str]) -> None:
    """Let these parameters learn, and no others; the network is in training mode after it.

    Batch normalisation whose weight and bias are frozen stays in evaluation mode: its running
    statistics belong to the weights before it, and would drift towards the new data otherwise.
    One without weights follows the parameters of the layer that holds it.

    Args:
        model: The network itself.
        names: Names of the parameters that learn.
    """
    for name, parameter in model.named_parameters():
        learns = name in names
        if parameter.requires_grad != learns:
            parameter.requires_grad_(learns)
            if not learns:
                # An optimizer would go on stepping along a gradient that was left.
                parameter.grad = None
    model.train()
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm) and _is_frozen(model, name, layer):
            layer.eval()


def _is_frozen(model: nn.Module, name: str, layer: _BatchNorm) -> bool:
    own = list(layer.parameters())
    if not own:
        own = list(model.get_submodule(name.rpartition(".")[0]).parameters())
    return bool(own) and not any(parameter.requires_grad for parameter in own)
