"""Depthwise convolution whose gradients are quick in bfloat16 on a CPU.

oneDNN's forward kernels for bfloat16 depthwise convolutions are good, while several of its backward kernels fall back
to scalar code (up to 70 times slower than the forward pass). Both gradients are convolutions themselves, and are
written here as such. On two cores this halves the time of a whole training step of EfficientNet-B0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

_LARGEST_NATIVE_KERNEL = 3  # up to here oneDNN's own kernel for the weights' gradient is vectorised


class DepthwiseConv2d(nn.Conv2d):
    """One odd-sized square filter per channel, without bias; the output is the input's size divided by the stride."""

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(
            channels, channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Filters (B, C, H, W), each channel by itself."""
        # bfloat16 comes here only from autocast or in a bfloat16 network
        if x.dtype == torch.bfloat16 and x.device.type == "cpu" and torch.is_grad_enabled():
            y: Tensor = _BFloat16Depthwise.apply(x, self.weight, self.stride[0])  # type: ignore[no-untyped-call]
            return y
        return super().forward(x)


class _BFloat16Depthwise(torch.autograd.Function):
    """The convolution and its two gradients; the weight and its gradient keep the weight's own precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight.to(x.dtype), stride=stride, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        x_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = _input_gradient(gradient, weight, ctx.stride, (x.shape[2], x.shape[3]))
        if ctx.needs_input_grad[1]:
            weight_gradient = _weight_gradient(gradient, x, weight, ctx.stride)
        return x_gradient, weight_gradient, None


def _input_gradient(gradient: Tensor, weight: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Returns the gradient, spread out by the stride, convolved with the mirrored filters."""
    batch, channels = gradient.shape[:2]
    if stride > 1:
        spread = gradient.new_zeros((batch, *size, channels)).permute(0, 3, 1, 2)  # channels last in memory
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    mirrored = weight.to(gradient.dtype).flip(2, 3)
    return F.conv2d(gradient, mirrored, padding=weight.shape[-1] // 2, groups=channels)


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Returns the input correlated with the gradient, one image and channel at a time, summed over the images.

    Images and channels together are the channels of one depthwise convolution whose filters are the gradients.
    """
    kernel_size = weight.shape[-1]
    padding = kernel_size // 2
    if kernel_size <= _LARGEST_NATIVE_KERNEL:
        narrow: Tensor = conv2d_weight(x, weight.shape, gradient, stride=stride, padding=padding, groups=x.shape[1])
        return narrow.to(weight.dtype)
    batch, channels, rows, columns = x.shape
    together = x.permute(2, 3, 0, 1).reshape(1, rows, columns, batch * channels).permute(0, 3, 1, 2)
    filters = gradient.reshape(batch * channels, 1, *gradient.shape[2:])
    taps = F.conv2d(together, filters, padding=padding, dilation=stride, groups=batch * channels)
    taps = taps[:, :, :kernel_size, :kernel_size].reshape(batch, channels, 1, kernel_size, kernel_size)
    return taps.sum(0, dtype=weight.dtype)
