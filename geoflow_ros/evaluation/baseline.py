"""A baseline without learning: the image is laid flat on the ground and matched with the patch by its edges.

Inverse perspective mapping turns the image into a picture of the road as seen from above, under the assumption that
the world is flat; normalized correlation of gradients then finds where on the patch it fits best.
"""

from typing import Protocol

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.errors import InputError

# The ground that the template shows, metres from the camera. Nearer is below the image; farther, a row of the image is
# more than a metre of ground.
NEAR_M, FAR_M, HALF_WIDTH_M = 4.0, 24.0, 12.0
# Blur before the gradient, metres on the ground: finer detail differs between the two views anyhow.
BLUR_M = 0.2
_LEAST_BLUR_PX = 0.6  # where a pixel is much ground, the Sobel filter still wants a smooth picture
# Gradients (grey levels, Sobel) below this count in proportion, above it by their logarithm.
_FAINT_EDGE = 4.0
_BORDER_PX = 5  # width that blur and Sobel filter reach


class GroundCamera(Protocol):
    """Where a point near the vehicle appears in its image (`world.Camera` is one)."""

    def project(self, forward_m: float, right_m: float, up_m: float) -> tuple[float, float]:
        """(column, row) in pixels; NaN where the point is not in the image."""
        ...


class TemplateMatcher:
    """Finds the camera on a patch by template matching.

    Args:
        camera: of the images.
        ground_resolution_m: of the patches.
        search_radius_m: half the side of the search square.
    """

    def __init__(self, camera: GroundCamera, ground_resolution_m: float, search_radius_m: float) -> None:
        self._resolution_m = ground_resolution_m
        self._search_radius_m = search_radius_m
        # Template pixel (row, column) shows the ground at (forward, right): columns forward, rows right, as the patch.
        self._forward_px = np.arange(round(NEAR_M / ground_resolution_m), round(FAR_M / ground_resolution_m) + 1)
        half = round(HALF_WIDTH_M / ground_resolution_m)
        self._right_px = np.arange(-half, half + 1)
        columns, rows = self._projection(camera)
        self._columns, self._rows = columns, rows
        visible = np.isfinite(columns)
        if not visible.any():
            raise InputError("the camera sees no ground in front of it: there is nothing to match")
        # The outermost visible pixels have gradients towards what is not seen: leave them out.
        self._mask = cv2.erode(visible.astype(np.float32), np.ones((_BORDER_PX, _BORDER_PX), np.uint8))

    def locate(self, ground: UInt8Array, satellite: UInt8Array) -> Float64Array:
        """Finds the best position (2,) of the camera, (forward, right) in metres from the patch centre.

        Args:
            ground: (H, W, 3) RGB uint8 of the camera's size.
            satellite: (P, P, 3) RGB uint8, its +x the vehicle's forward.
        """
        view = cv2.remap(ground, self._columns, self._rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        template, patch = self._edges(np.asarray(view, np.uint8)), self._edges(satellite)
        score = cv2.matchTemplate(patch, template, cv2.TM_CCOEFF_NORMED, mask=self._mask)
        centre = (satellite.shape[0] - 1) / 2
        # The template's first pixel lies at (right, forward) = (right_px[0], forward_px[0]) from the camera.
        right_m = (np.arange(score.shape[0]) - self._right_px[0] - centre) * self._resolution_m
        forward_m = (np.arange(score.shape[1]) - self._forward_px[0] - centre) * self._resolution_m
        outside = (np.abs(right_m)[:, None] > self._search_radius_m) | (np.abs(forward_m) > self._search_radius_m)
        score = np.where(outside | ~np.isfinite(score), -np.inf, score)
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        return np.array([forward_m[column], right_m[row]])

    def _projection(self, camera: GroundCamera) -> tuple[Float32Array, Float32Array]:
        pixels = np.array(
            [
                [camera.project(f * self._resolution_m, r * self._resolution_m, 0.0) for f in self._forward_px]
                for r in self._right_px
            ],
            dtype=np.float32,
        )  # (rows, columns, 2)
        return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])

    def _edges(self, picture: UInt8Array) -> Float32Array:
        """Gradient magnitude, compressed so that one bright line does not outweigh all the rest."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        smooth = cv2.GaussianBlur(grey, (0, 0), max(BLUR_M / self._resolution_m, _LEAST_BLUR_PX))
        magnitude = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
        return np.log1p(magnitude / _FAINT_EDGE).astype(np.float32)
