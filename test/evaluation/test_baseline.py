"""Template matching: what can be done without learning."""

import cv2
import numpy as np

from geoflow_ros.evaluation.baseline import TemplateMatcher
from geoflow_ros.evaluation.metrics import figures
from geoflow_ros.world import Area, Camera, HeadingError, PairSampler


def test_template_matching_finds_the_camera_on_a_flat_textured_ground() -> None:
    """The camera image of a textured plane, made by the camera's own projection, is found again on the plane."""
    resolution_m, size_px, camera = 0.25, 400, Camera.perspective(512, 128, 90.0, 1.65)
    rng = np.random.default_rng(5)
    coarse = rng.uniform(0, 255, (100, 100, 3)).astype(np.float32)
    plane = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    centre, truth_m = (size_px - 1) / 2, np.array([7.0, -4.5])
    azimuth, slope = camera.azimuth_rad[None, :], camera.slope
    distance = np.where(slope < -1e-3, camera.height_m / np.maximum(-slope, 1e-3), 1e4)
    columns = centre + (truth_m[0] + distance * np.cos(azimuth)) / resolution_m
    rows = centre + (truth_m[1] + distance * np.sin(azimuth)) / resolution_m
    view = cv2.remap(plane, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    found = TemplateMatcher(camera, resolution_m, 20.0).locate(np.asarray(view, np.uint8), plane)
    assert np.abs(found - truth_m).max() <= 2 * resolution_m


def test_template_matching_stays_inside_the_search_square() -> None:
    rng = np.random.default_rng(6)
    matcher = TemplateMatcher(Camera.perspective(256, 64), 0.5, 10.0)
    for _ in range(3):
        ground = rng.integers(0, 255, (64, 256, 3), dtype=np.uint8)
        satellite = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
        assert np.abs(matcher.locate(ground, satellite)).max() <= 10.0


def test_template_matching_beats_the_centre_of_the_patch_on_synthetic_pairs() -> None:
    sampler = PairSampler(Area.CROSS, 3, 256, (128, 512), 0.3916, 20.0, HeadingError(0.5))
    matcher = TemplateMatcher(sampler.camera, 0.3916, 20.0)
    pairs = [sampler.pair(k) for k in range(12)]
    matched = figures([matcher.locate(p.ground, p.satellite) - p.offset_m for p in pairs])
    assert matched["mean_error_m"] < figures([-p.offset_m for p in pairs])["mean_error_m"]
