"""A city drawn in another style: flat colours from a palette of its own, for a domain that training never saw.

Geometry is that of the renderer; what differs is all that a network could have learned of its surfaces: no texture, no
noise, no shadows, colours that no city has, and dark lines where one surface ends.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world.kinds import LABELS, Label
from geoflow_ros.world.pairs import PairPictures, PairSampler
from geoflow_ros.world.places import Poses, Window
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.windows import Windows
from geoflow_ros.world.world import Photo

_LINE = 0.35  # brightness of a line, of its surface's
_SUPERSAMPLING = 2
_FOG_M = 120.0  # distance at which two thirds of a surface's colour are left
_SATURATION, _BRIGHTNESS = (0.25, 0.8), (0.35, 0.95)
_MAP_BRIGHTNESS = (0.7, 1.2)  # of what the camera sees
_PHOTO_STREAM = 79  # of random numbers


class OtherStylePairs(PairSampler):
    """Pairs as `PairSampler` draws them, in another style; conditions do not disturb them."""

    def pictures(
        self, window: Window, camera: Poses, patch: Poses, offset_m: Float64Array, rng: np.random.Generator
    ) -> PairPictures:
        """See `PairSampler.pictures`; every pair has its own palette, and its map another brightness."""
        windows, only = Windows.stack([window.raster]), np.zeros(1, np.int64)
        view = render_views(windows, self.camera, only, *camera.float32())
        size, resolution = _SUPERSAMPLING * self.satellite_size, self.ground_resolution_m / _SUPERSAMPLING
        label = render_patches(windows, size, resolution, only, *patch.float32())[1][0]
        palette = _palette(rng)
        ground = _drawn(view.label[0], palette)
        left = np.exp(-np.minimum(view.depth_m[0], 1e4) / (3.0 * _FOG_M))[..., None].astype(np.float32)
        ground = ground * left + palette[Label.SKY] * (1.0 - left)
        satellite = cv2.resize(_drawn(label, palette), (self.satellite_size,) * 2, interpolation=cv2.INTER_AREA)
        brightness = np.float32(rng.uniform(*_MAP_BRIGHTNESS))
        return PairPictures(_bytes(ground), _bytes(np.asarray(satellite, np.float32) * brightness))


def other_style_photo(seed: int) -> Photo:
    """Returns a map in another style, with the palette of a seed."""
    rng = np.random.default_rng([seed, _PHOTO_STREAM])
    palette = _palette(rng) * np.float32(rng.uniform(*_MAP_BRIGHTNESS))
    return lambda raster: _bytes(_drawn(raster.map_label, palette))


def _palette(rng: np.random.Generator) -> Float32Array:
    """Returns (LABELS, 3) colours of the surfaces, whose hues are spread over the circle."""
    hues = (rng.permutation(LABELS) + rng.uniform(0, 1)) / LABELS
    saturation, brightness = (rng.uniform(*limits, LABELS) for limits in (_SATURATION, _BRIGHTNESS))
    colours = [colorsys.hsv_to_rgb(*values) for values in zip(hues, saturation, brightness, strict=True)]
    return 255.0 * np.array(colours, np.float32)


def _drawn(label: UInt8Array, palette: Float32Array) -> Float32Array:
    """Returns the picture (H, W, 3) of labels (H, W), with a line where one ends."""
    edge = np.zeros(label.shape, np.bool_)
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    edge[1:] |= label[1:] != label[:-1]
    return palette[label] * np.where(edge, np.float32(_LINE), np.float32(1.0))[..., None]


def _bytes(picture: Float32Array) -> UInt8Array:
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)
