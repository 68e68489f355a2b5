"""How much of the ground that a model looks at an image shows, where a camera does not cover the model's whole view."""

from __future__ import annotations

import math

import numpy as np

from geoflow_ros.arrays import BoolArray
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.inference.birds_eye_projection import project_ground


def covered_ground_share(covered: BoolArray, manifest: Manifest) -> float:
    """The share of the ground before the camera that an image shows, 0 to 1.

    Of a bird's-eye model's cells those that it looks at; of other models' images the part below the horizon.

    Args:
        covered: (H, W) which pixels of the image of the model's virtual camera show anything.
        manifest: of a model with a virtual camera.
    """
    if manifest.birds_eye is None:
        camera = manifest.virtual_camera
        assert camera is not None  # or there were no such image
        return float(covered[max(0, math.ceil(camera.horizon_row_px)) :].mean())
    all_ground = project_ground(manifest.geometry, (manifest.geometry.camera,))
    seen = all_ground.within(without_sky(covered, manifest)).is_visible
    return float(seen.sum() / all_ground.is_visible.sum())


def without_sky(covered: BoolArray | None, manifest: Manifest) -> BoolArray | None:
    """Returns the part of a mask (H, W) that a bird's-eye model's network looks at; None stays None."""
    return None if covered is None else np.asarray(covered[manifest.geometry.sky_rows_px :])
