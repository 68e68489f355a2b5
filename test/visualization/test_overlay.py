"""The overlay of a fix marks things where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.heads import ground_image, patch_at

from geoflow_ros.backends import Backend, OnnxRuntimeBackend
from geoflow_ros.bundle import Bundle
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.visualization import draw_fix


@pytest.fixture(scope="module")
def bundle(converging_bundle: Path) -> Bundle:
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> Backend:
    return OnnxRuntimeBackend(bundle, threads=1)


def test_the_overlay_marks_answer_and_truth_where_they_are(bundle: Bundle, backend: Backend) -> None:
    patch = patch_at(bundle, 100.0, 50.0, 0.5)
    grey = SatellitePatch(np.full_like(patch.pixels, 90), patch.frame)
    fix = GeoFlowLocalizer(bundle, backend).localize(ground_image(), patch)
    truth = patch.frame.local_to_enu([-12.0, 9.0])
    picture_with = draw_fix(grey, fix, truth, size_px=512)
    assert picture_with.shape == (512, 512, 3)
    assert picture_with.dtype == np.uint8

    def colour_at(enu: Any) -> tuple[int, ...]:
        x, y = np.round((patch.frame.to_pixel(enu) + 0.5) * 4.0 - 0.5).astype(int)
        return tuple(int(value) for value in picture_with[y, x])

    red, green, blue = colour_at(fix.position)
    assert red > 200
    assert green < 120
    assert blue < 120
    red, green, blue = colour_at(truth)
    assert green > 200
    assert red < 150
    assert blue < 150
