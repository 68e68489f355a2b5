"""Camera images and patches for the benchmarks, rendered in the synthetic town."""

from __future__ import annotations

import numpy as np

from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.images import encode_jpeg
from geoflow_ros.world.pairs import Area, HeadingError, PairSampler

LARGER = 1.25  # a camera's image, against the model's: 1280 x 320 for 1024 x 256
_JPEG_QUALITY = 90
_WIDEST_PATCH_M = 100.0  # that the sampler's windows hold


def render_pictures(manifest: Manifest, count: int) -> list[Pictures]:
    """Renders views of the town in the sizes of a model, for speed alone, whatever camera it was made for."""
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
    return [
        Pictures(np.frombuffer(encode_jpeg(pair.ground, _JPEG_QUALITY), np.uint8), pair.satellite) for pair in pairs
    ]
