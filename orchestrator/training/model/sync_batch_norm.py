"""Key `model.sync_batch_norm`: statistics of the whole batch, which several workers share.

On GPUs that is torch's own layer, which refuses CPUs. There each worker's (count, mean, M2),
the last the sum of squared differences from the mean, are merged by Chan's formula: sums of
squares would cancel, and workers may have unequal numbers of images.

A loss must weight each worker by its share of the batch, since DDP averages gradients:
sum · world_size / batch_size.
"""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from orchestrator.errors import TrainingError

Statistics = tuple[Tensor, Tensor, Tensor]
"""Count (scalar), mean (C,) and variance (C,), biased, of the whole batch."""


def convert_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch normalisation of a network use the whole batch's statistics.

    Parameters and buffers stay the same objects under the same names, so that optimizers,
    weights and checkpoints go on as they were. One worker alone needs no conversion and gets
    none. Evaluation and frozen statistics (layers in evaluation mode) are each worker's own.

    Args:
        model: The network, changed in place unless it is itself a normalisation.
        device: Where it lives.

    Returns:
        The network.

    Raises:
        TrainingError: As `check_batch_norm`.
    """
    if _world_size() == 1:
        return model
    check_batch_norm(model)
    return _convert(model, on_gpu=device.type == "cuda")


def check_batch_norm(model: nn.Module) -> None:
    """Refuse a normalisation that does more than torch's: its exchange would lose that.

    Raises:
        TrainingError: Names the layer.
    """
    plain = (_BatchNorm.forward, nn.SyncBatchNorm.forward)
    for name, layer in model.named_modules():
        is_known = type(layer).forward in plain or _is_timms(layer)
        if isinstance(layer, _BatchNorm) and not is_known:
            raise TrainingError(
                f"model.sync_batch_norm: {name} is a {type(layer).__name__}, whose forward is "
                "not torch's and would be lost; use torch.nn.BatchNorm2d there, or leave "
                "sync_batch_norm out"
            )


class CPUSyncBatchNorm(_BatchNorm):
    """`BatchNorm1d`, `2d` and `3d` over all workers' images, by gloo on CPUs."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected images of 2 or more dimensions (got {input.dim()})")

    def forward(self, input: Tensor) -> Tensor:
        """Normalised (B, C, ...) of the same dtype; the statistics are float32 or better."""
        if not self.training or _world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        output, count, mean, variance = _Normalize.apply(
            input, self.weight, self.bias, self.eps
        )
        if self.track_running_stats:
            self._track((count, mean, variance))
        return cast("Tensor", output)

    @torch.no_grad()
    def _track(self, statistics: Statistics) -> None:
        count, mean, variance = statistics
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        # Without a momentum the running statistics are the mean over all batches.
        momentum = self.momentum
        factor = 1.0 / float(self.num_batches_tracked) if momentum is None else momentum
        unbiased = variance * (count / (count - 1))
        for running, now in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.mul_(1 - factor).add_(now.to(running.dtype), alpha=factor)


class _Normalize(torch.autograd.Function):
    """(x − mean) / sqrt(variance + eps) · weight + bias, its sums over all workers."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  torch has no name for what may be kept on it
        images: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = _exact(images)
        count, mean, variance = _merge(_own_statistics(exact))
        if count <= 1:
            raise ValueError(
                "batch normalisation needs more than one value per channel in training "
                f"(got {tuple(images.shape)} here, and no more elsewhere)"
            )
        inverse = (variance + eps).rsqrt()
        output = (exact - _wide(mean, exact)) * _wide(inverse, exact)
        if weight is not None:
            output = output * _wide(weight, exact)
        if bias is not None:
            output = output + _wide(bias, exact)
        ctx.save_for_backward(images, weight, bias, mean, inverse, count)
        ctx.mark_non_differentiable(count, mean, variance)
        return output.to(images.dtype), count, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Ioffe and Szegedy 2015, section 3, arXiv:1502.03167, its sums over all workers."""
        images, weight, bias, mean, inverse, count = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient, exact = _exact(gradients[0]), _exact(images)
        normal = (exact - _wide(mean, exact)) * _wide(inverse, exact)
        own = torch.stack([_sum(gradient), _sum(gradient * normal)])
        # The parameters' gradients stay this worker's: DDP averages them with all others.
        to_weight = None if weight is None else own[1].to(weight.dtype)
        to_bias = None if bias is None else own[0].to(bias.dtype)
        # A copy even of float64: it is summed in place.
        sums = own.to(torch.float64, copy=True)
        distributed.all_reduce(sums)
        means = sums / count
        scale = inverse if weight is None else inverse * weight
        to_images = _wide(scale, exact) * (
            gradient - _wide(means[0], exact) - normal * _wide(means[1], exact)
        )
        return to_images.to(images.dtype), to_weight, to_bias, None


def _own_statistics(images: Tensor) -> Tensor:
    """Count, mean and M2 of this worker's images, one after the other, shape (1 + 2C,)."""
    count = images.numel() // images.shape[1]
    mean = _sum(images) / max(count, 1)
    squares = _sum((images - _wide(mean, images)) ** 2)
    # float32 would stop counting at 2**24 values.
    counted = torch.tensor([count], dtype=torch.float64, device=images.device)
    return torch.cat([counted, mean.double(), squares.double()])


def _merge(own: Tensor) -> Statistics:
    """Chan, Golub and LeVeque 1983, equation 2.1, over all workers at once, float64."""
    gathered = [torch.empty_like(own) for _ in range(_world_size())]
    distributed.all_gather(gathered, own)
    table = torch.stack(gathered)
    counts, (means, squares) = table[:, :1], table[:, 1:].chunk(2, dim=1)
    count = counts.sum()
    mean = (counts * means).sum(0) / count
    total = (squares + counts * (means - mean) ** 2).sum(0)
    return count, mean, total / count


def _exact(images: Tensor) -> Tensor:
    """In float32 at least: half precision is no place for sums."""
    return images.to(torch.promote_types(images.dtype, torch.float32))


def _sum(images: Tensor) -> Tensor:
    """Over everything but the channels."""
    return images.sum([0, *range(2, images.dim())])


def _wide(per_channel: Tensor, images: Tensor) -> Tensor:
    """One value per channel, beside images and of their dtype."""
    return per_channel.to(images.dtype).view(1, -1, *[1] * (images.dim() - 2))


def _world_size() -> int:
    # A build of torch without distribution has no group either.
    if not distributed.is_available() or not distributed.is_initialized():
        return 1
    return int(distributed.get_world_size())


class _ThenActs(_BatchNorm):
    """As timm has it: a normalisation that also drops and activates."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """Normalised, then activated."""
        output: Tensor = self.act(self.drop(super().forward(input)))
        return output


class _CPUSyncBatchNormAct(_ThenActs, CPUSyncBatchNorm):
    """The shared normalisation on CPUs, then an activation."""


class _SyncBatchNormAct(_ThenActs, nn.SyncBatchNorm):
    """torch's on GPUs, then an activation."""


_ON_CPUS = (CPUSyncBatchNorm, _CPUSyncBatchNormAct)
_ON_GPUS = (nn.SyncBatchNorm, _SyncBatchNormAct)


def _is_timms(layer: nn.Module) -> bool:
    """Whether it is one of timm's that activates; timm itself need not be there."""
    return any(
        kind.__name__ == "BatchNormAct2d" and kind.__module__.startswith("timm.")
        for kind in type(layer).__mro__
    )


def _convert(module: nn.Module, *, on_gpu: bool) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return _exchange(module, on_gpu=on_gpu)
    for name, child in list(module.named_children()):
        converted = _convert(child, on_gpu=on_gpu)
        if converted is not child:
            setattr(module, name, converted)
    return module


def _exchange(layer: _BatchNorm, *, on_gpu: bool) -> _BatchNorm:
    activates = _is_timms(layer)
    plain, active = _ON_GPUS if on_gpu else _ON_CPUS
    made = (active if activates else plain)(
        layer.num_features,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.affine,
        track_running_stats=layer.track_running_stats,
        device=torch.device("meta"),
    )
    made.weight, made.bias = layer.weight, layer.bias
    made.running_mean, made.running_var = layer.running_mean, layer.running_var
    made.num_batches_tracked = layer.num_batches_tracked
    if activates:
        made.drop, made.act = layer.drop, layer.act
    return made.train(layer.training)
