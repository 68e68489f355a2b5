"""EfficientNet-B0 without its classifier: an image in, the last stage's 320 channels at stride 32 out.

The architecture is that of Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(ICML 2019), table 1. Tensor names, the order of operations and the symmetric padding are those of timm's
`efficientnet_b0` (not its `tf_` variants), so that weights published for it load as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.model.depthwise import DepthwiseConv2d

FEATURE_CHANNELS = 320
STRIDE = 32


@dataclass(frozen=True)
class _Stage:
    """One row of the architecture's table."""

    repeats: int
    kernel_size: int
    stride: int  # of the first block; the others have stride 1
    expansion: int
    channels: int


_STEM_CHANNELS = 32
_STAGES = (
    _Stage(repeats=1, kernel_size=3, stride=1, expansion=1, channels=16),
    _Stage(repeats=2, kernel_size=3, stride=2, expansion=6, channels=24),
    _Stage(repeats=2, kernel_size=5, stride=2, expansion=6, channels=40),
    _Stage(repeats=3, kernel_size=3, stride=2, expansion=6, channels=80),
    _Stage(repeats=3, kernel_size=5, stride=1, expansion=6, channels=112),
    _Stage(repeats=4, kernel_size=5, stride=2, expansion=6, channels=192),
    _Stage(repeats=1, kernel_size=3, stride=1, expansion=6, channels=FEATURE_CHANNELS),
)
_SQUEEZE_RATIO = 0.25  # of the channels that enter the block, not of the expanded ones


class SqueezeExcite(nn.Module):
    """Channel gates from the globally pooled features (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.conv_expand = nn.Conv2d(reduced_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scales the channels of (B, C, H, W)."""
        pooled = x.mean((2, 3), keepdim=True)
        gate = self.conv_expand(F.silu(self.conv_reduce(pooled)))
        return x * torch.sigmoid(gate)


class DepthwiseSeparableBlock(nn.Module):
    """Depthwise convolution, squeeze-and-excite, pointwise projection: the first stage's block."""

    def __init__(self, in_channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        self.conv_dw = DepthwiseConv2d(in_channels, stage.kernel_size, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.se = SqueezeExcite(in_channels, round(in_channels * _SQUEEZE_RATIO))
        self.conv_pw = nn.Conv2d(in_channels, stage.channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(stage.channels)
        self.is_residual = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the stage's channels, at the size divided by the stride."""
        y: Tensor = F.silu(self.bn1(self.conv_dw(x)))
        y = self.bn2(self.conv_pw(self.se(y)))
        return x + y if self.is_residual else y


class InvertedResidualBlock(nn.Module):
    """Pointwise expansion, depthwise convolution, squeeze-and-excite, linear pointwise projection (MBConv)."""

    def __init__(self, in_channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        expanded = in_channels * stage.expansion
        self.conv_pw = nn.Conv2d(in_channels, expanded, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(expanded)
        self.conv_dw = DepthwiseConv2d(expanded, stage.kernel_size, stride)
        self.bn2 = nn.BatchNorm2d(expanded)
        self.se = SqueezeExcite(expanded, round(in_channels * _SQUEEZE_RATIO))
        self.conv_pwl = nn.Conv2d(expanded, stage.channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(stage.channels)
        self.is_residual = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the stage's channels, at the size divided by the stride."""
        y: Tensor = F.silu(self.bn1(self.conv_pw(x)))
        y = F.silu(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(self.se(y)))
        return x + y if self.is_residual else y


class EfficientNetB0(nn.Module):
    """The encoder: (B, 3, H, W) normalised RGB to (B, 320, H/32, W/32), for sides that are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        stages: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for stage in _STAGES:
            block_type = DepthwiseSeparableBlock if stage.expansion == 1 else InvertedResidualBlock
            blocks: list[nn.Module] = []
            for repeat in range(stage.repeats):
                blocks.append(block_type(channels, stage, stage.stride if repeat == 0 else 1))
                channels = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        _initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """Encodes images; see the class."""
        features: Tensor = self.blocks(F.silu(self.bn1(self.conv_stem(image))))
        return features


def _initialize(encoder: nn.Module) -> None:
    """Draws variance-preserving normal weights by fan-out, as the architecture's authors start from."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
