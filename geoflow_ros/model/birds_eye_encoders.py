"""What a bird's-eye network sees: features of the satellite's cells, and of the camera's laid on the ground.

Every strided convolution has an even kernel, so that the centres of cells stay where the geometry says: a cell's centre
is the centre of the pixels that it covers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.bundle.birds_eye import COARSE
from geoflow_ros.geo.birds_eye import GroundCamera
from geoflow_ros.inference.birds_eye_projection import GroundProjection, project_ground
from geoflow_ros.model.birds_eye_config import BirdsEyeConfig

_STEM_CHANNELS = 8
_ALIGNMENT = 4  # channels


class SatelliteCells(NamedTuple):
    """Features of a patch's cells; axis 2 goes forward and axis 3 to the right, as on the bird's-eye grid.

    Attributes:
        fine: (B, fine_channels, S, S).
        coarse: (B, coarse_channels, S / 2, S / 2).
    """

    fine: Tensor
    coarse: Tensor

    def taken(self, index: Tensor) -> SatelliteCells:
        """Returns the cells of the patches with these numbers, (n,) int64."""
        return SatelliteCells(*(features[index] for features in self))


class GroundCells(NamedTuple):
    """Features of the bird's-eye grid's cells, times how much each is trusted; 0 where the camera sees nothing.

    Attributes:
        fine: (B, fine_channels, F, R).
        coarse: (B, coarse_channels, F / 2, R / 2).
        fine_confidence: (B, 1, F, R) in [0, 1].
        coarse_confidence: (B, 1, F / 2, R / 2).
        context: (B, 4 width, F / 2, R / 2) refined features before the last layer, of coarse cells.
    """

    fine: Tensor
    coarse: Tensor
    fine_confidence: Tensor
    coarse_confidence: Tensor
    context: Tensor

    def taken(self, index: Tensor) -> GroundCells:
        """Returns the cells of the images with these numbers, (n,) int64."""
        return GroundCells(*(features[index] for features in self))


@dataclass(frozen=True)
class Projection:
    """Where the image shows the cells, for all images (P = 1) or for each its own (P = B); see `GroundProjection`.

    Attributes:
        cells: (P, F, R, 2) grid-sampling coordinates of the fine cells in the image without its sky.
        colours: (P, 2 F, 2 R, 2) those of cells half as wide, on which the colours themselves are laid.
        is_visible: (P, 1, F, R) 1 where the camera sees the cell, else 0.
    """

    cells: Tensor
    colours: Tensor
    is_visible: Tensor

    @classmethod
    def of(cls, ground: GroundProjection) -> Projection:
        """Returns the same as tensors."""
        return cls(*(torch.from_numpy(array) for array in (ground.cells, ground.colours, ground.is_visible)))

    def to(self, device: torch.device) -> Projection:
        """Returns it on a device."""
        return Projection(self.cells.to(device), self.colours.to(device), self.is_visible.to(device))


def projection(config: BirdsEyeConfig, *cameras: GroundCamera) -> Projection:
    """Returns the sampling of the network's grid through one camera or several.

    Raises:
        GeometryError: a camera that sees no cell.
    """
    return Projection.of(project_ground(config, cameras))


class SatelliteEncoder(nn.Module):
    """A patch (B, 3, P, P), normalised, to features of its fine and coarse cells."""

    def __init__(self, config: BirdsEyeConfig) -> None:
        super().__init__()
        self.trunk = _Trunk(config)
        w = config.width
        self.coarse = nn.Conv2d(2 * w, config.coarse_channels, 1)
        self.fine = nn.Sequential(nn.Conv2d(2 * w, 4 * config.fine_channels, 1), nn.PixelShuffle(2))
        self.skip = nn.Conv2d(w, config.fine_channels, 3, padding=1)

    def forward(self, satellite: Tensor) -> SatelliteCells:
        """Encodes patches."""
        halved, quartered = self.trunk(satellite)
        fine = self.fine(quartered) + self.skip(halved)
        # a patch's rows go to the right and its columns forward
        return SatelliteCells(fine.transpose(2, 3), self.coarse(quartered).transpose(2, 3))


class GroundEncoder(nn.Module):
    """A camera's image (B, 3, H, W), normalised, to features of the cells on the ground before it.

    There are two ways down: features of the image at a quarter of its size, which know walls from ground, and the
    colours themselves, laid flat on cells half as wide, which keep markings sharp.
    """

    _cells: Tensor
    _colours: Tensor
    _visible: Tensor
    _distance: Tensor

    def __init__(self, config: BirdsEyeConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.trunk = _Trunk(config)
        self.flat = _convolution(3, w, 4, 2)
        self._spare = 0
        self.refine = RefineBlock(3 * w + 2, 2 * w, config.refine_kernel)
        self.down = nn.Sequential(_convolution(2 * w, 4 * w, 4, 2), Residual(4 * w))
        self.lower = nn.Sequential(_convolution(4 * w, 4 * w, 4, 2), Residual(4 * w))
        self.lateral = nn.Conv2d(4 * w, 4 * w, 1)
        self.mix_coarse = _convolution(4 * w, 4 * w)
        self.coarse = nn.Conv2d(4 * w, config.coarse_channels + 1, 1)
        self.reduce = nn.Conv2d(4 * w, 2 * w, 1)
        self.mix_fine = _convolution(2 * w, 2 * w)
        self.fine = nn.Conv2d(2 * w, config.fine_channels + 1, 1)
        nominal = projection(config, config.camera)
        self.register_buffer("_cells", nominal.cells, persistent=False)
        self.register_buffer("_colours", nominal.colours, persistent=False)
        self.register_buffer("_visible", nominal.is_visible, persistent=False)
        distance = config.grid.centres_m()[..., 0] / config.range_m
        self.register_buffer("_distance", torch.tensor(distance, dtype=torch.float32)[None, None], persistent=False)

    @property
    def nominal(self) -> Projection:
        """The projection of the configuration's camera."""
        return Projection(self._cells, self._colours, self._visible)

    def aligned(self) -> GroundEncoder:
        """Returns a copy for export that answers the same, with channels that engines like.

        onnxruntime leaves its fast layout for a convolution whose input channels are no multiple of 4. The first one of
        the refinement gets spare ones, of which its weights take nothing.
        """
        encoder = copy.deepcopy(self)
        first = encoder.refine.wide[0]
        assert isinstance(first, nn.Conv2d)  # see `_convolution`
        encoder._spare = -first.in_channels % _ALIGNMENT
        first.in_channels += encoder._spare
        first.weight = nn.Parameter(F.pad(first.weight.detach(), (0, 0, 0, 0, 0, encoder._spare)))
        return encoder

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features (B, 2 width, h, w) at a quarter of the image, and the image itself, both without the sky."""
        below = images[:, :, self.config.sky_rows_px :]
        return self.trunk(below)[1], below

    def lay_down(self, features: Tensor, images: Tensor, at: Projection | None = None) -> GroundCells:
        """Lays what `image_features` returned on the ground; a camera hypothesis costs this and no more.

        There is one projection for all images, one for each, or several for one image.
        """
        at = at or self.nominal
        sampled = _sample(features, at.cells)
        count = sampled.shape[0]
        visible = at.is_visible.expand(count, -1, -1, -1)
        sampled = sampled * visible
        colours = _sample(images, at.colours) * F.interpolate(visible, scale_factor=2.0)
        distance = self._distance.expand(count, -1, -1, -1)
        spare = [visible] * self._spare
        fine = self.refine(torch.cat([sampled, self.flat(colours), visible, distance, *spare], dim=1))
        context = self.down(fine)
        context = self.mix_coarse(context + self.lateral(_doubled(self.lower(context))))
        # a 1x1 convolution before enlarging is the same as after, at a quarter of the cost
        fine = self.fine(self.mix_fine(fine + _doubled(self.reduce(context))))
        coarse = self.coarse(context)
        fine_confidence = torch.sigmoid(fine[:, :1]) * visible
        coarse_confidence = torch.sigmoid(coarse[:, :1]) * F.avg_pool2d(visible, COARSE)
        return GroundCells(
            fine=fine[:, 1:] * fine_confidence,
            coarse=coarse[:, 1:] * coarse_confidence,
            fine_confidence=fine_confidence,
            coarse_confidence=coarse_confidence,
            context=context,
        )

    def forward(self, images: Tensor, at: Projection | None = None) -> GroundCells:
        """Encodes images and lays them on the ground."""
        features, below = self.image_features(images)
        return self.lay_down(features, below, at)


class RefineBlock(nn.Module):
    """A wide convolution, a residual block and a 1x1 convolution (section 3.1 of the paper, with a kernel of 7)."""

    def __init__(self, inputs: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.wide = _convolution(inputs, channels, kernel)
        self.residual = Residual(channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Refines (B, inputs, F, R) to (B, channels, F, R)."""
        refined: Tensor = self.mix(self.residual(self.wide(x)))
        return refined


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        return F.relu(x + self.second(self.first(x)))


class _Trunk(nn.Module):
    """An image to features at a half and a quarter of its size (after the stem), with what is at 1/16 mixed in."""

    def __init__(self, config: BirdsEyeConfig) -> None:
        super().__init__()
        w, blocks = config.width, config.blocks
        channels = [3] + [_STEM_CHANNELS] * config.stem_halvings
        self.stem = nn.Sequential(*(_convolution(i, o, 4, 2) for i, o in zip(channels[:-1], channels[1:], strict=True)))
        self.s2 = _convolution(channels[-1], w, 4, 2)
        self.s4 = _stage(w, 2 * w, blocks)
        self.s8 = _stage(2 * w, 4 * w, blocks)
        self.s16 = _stage(4 * w, 4 * w, blocks)
        self.lateral = nn.Conv2d(4 * w, 4 * w, 1)
        self.reduce = nn.Conv2d(4 * w, 2 * w, 1)
        self.mix = _convolution(2 * w, 2 * w)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        halved = self.s2(self.stem(image))
        quartered = self.s4(halved)
        eighth = self.s8(quartered)
        # a 1x1 convolution before enlarging is the same as after, at a quarter of the cost
        eighth = eighth + _doubled(self.lateral(self.s16(eighth)))
        return halved, self.mix(quartered + _doubled(self.reduce(eighth)))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs, 4, 2), *(Residual(outputs) for _ in range(blocks)))


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Returns a convolution with batch norm and ReLU; a strided one halves the size and has an even kernel."""
    padding = (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _sample(x: Tensor, coordinates: Tensor) -> Tensor:
    """Samples images (B, C, h, w) at (P, F, R, 2): one grid for all, one for each, or P for one image."""
    if len(x) > 1:
        return _bilinear(x, coordinates.expand(len(x), -1, -1, -1))
    rows, columns = coordinates.shape[1:3]
    sampled = _bilinear(x, coordinates.reshape(1, -1, columns, 2))  # the grids one below the other
    return sampled.reshape(x.shape[1], -1, rows, columns).transpose(0, 1)


def _bilinear(x: Tensor, grid: Tensor) -> Tensor:
    """Samples with what lies beyond the border as on it: by a frame of one pixel, as engines are slow at borders."""
    framed = F.pad(x, (1, 1, 1, 1), mode="replicate")
    shrunk = [size / (size + 2.0) for size in (x.shape[3], x.shape[2])]
    scale = torch.tensor(shrunk, dtype=grid.dtype, device=grid.device)
    return F.grid_sample(framed, grid.clamp(-1.0, 1.0) * scale, mode="bilinear", align_corners=False)
