"""Camera images and patches for the benchmarks, rendered in the synthetic town."""

from __future__ import annotations

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.world.pairs import Area, HeadingError, PairSampler

LARGER = 1.25  # a camera's image, against the model's: 1280 x 320 for 1024 x 256
_JPEG_QUALITY = 90
_WIDEST_PATCH_M = 100.0  # that the sampler's windows hold


def render_pictures(manifest: Manifest, count: int) -> list[Pictures]:
    """Views of the town in the sizes of a model; they are for speed alone, whatever camera the model was made for."""
    size_px = manifest.satellite.size_px
    width = round(LARGER * manifest.ground.width_px)
    sampler = PairSampler(
        area=Area.SAME,
        seed=0,
        satellite_size=size_px,
        ground_size=(round(width / manifest.camera.aspect_ratio), width),
        ground_resolution_m=min(manifest.satellite.ground_resolution_m, _WIDEST_PATCH_M / size_px),
        search_radius_m=manifest.search_radius_m,
        heading_error=HeadingError(),
    )
    pairs = [sampler.pair(index) for index in range(count)]
    return [Pictures(_encode(pair.ground), pair.satellite) for pair in pairs]


def _encode(rgb: UInt8Array) -> UInt8Array:
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return np.asarray(jpeg, np.uint8)
