"""The shipped bird's-eye weights, on pairs that neither training nor calibration saw."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fakes.validation_pairs import validation_sampler

from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import BundleError
from geoflow_ros.evaluation.lenses import CAMERAS, WidePairs, wide_camera
from geoflow_ros.evaluation.synthetic import Protocol, as_patch, sampler_for
from geoflow_ros.inference import open_localizer
from geoflow_ros.localization.camera_pictures import CameraPictures
from geoflow_ros.world.pairs import Area
from geoflow_ros.world.real_camera import photograph

PAIRS = 4
FOLDER = Path(__file__).resolve().parents[2] / "models" / "birds_eye"


def test_the_camera_is_found_with_its_yaw_and_not_on_another_place() -> None:
    bundle = Bundle.load(FOLDER)
    manifest = bundle.manifest
    assert manifest.to_json() == (FOLDER / "manifest.json").read_text()
    localizer = open_localizer(bundle, BackendOptions(ONNXRUNTIME))
    sampler = validation_sampler(manifest, seed=11)
    pairs = [sampler.pair(index) for index in range(PAIRS)]
    errors, yaws, qualities = [], [], []
    for pair in pairs:
        patch = as_patch(pair, manifest)
        fix = localizer.localize(pair.ground, patch)
        errors.append(np.hypot(*(fix.frame.enu_to_local(fix.position) - pair.offset_m)))
        assert fix.yaw_rad is not None
        yaws.append(math.degrees(abs(fix.yaw_rad + pair.heading_error_rad)))  # the patch's yaw is 0
        qualities.append(fix.assessment.quality)
    assert np.median(errors) < 0.8
    assert np.median(yaws) < 2.0
    elsewhere = sampler.pair(40)  # of another city
    wrong = [localizer.localize(pair.ground, as_patch(elsewhere, manifest)).assessment.quality for pair in pairs]
    assert np.median(wrong) < np.median(qualities)


def test_other_cameras_find_the_place_as_the_models_own_does() -> None:
    manifest = Bundle.load(FOLDER).manifest
    localizer = open_localizer(Bundle.load(FOLDER), BackendOptions(ONNXRUNTIME))
    sampler = sampler_for(manifest, Protocol(Area.CROSS, PAIRS, 11), WidePairs)
    errors: dict[str, list[float]] = {"90°": [], "fisheye, pitched 12°, rolled 3°": [], "60°, barrel": []}
    for pair in (sampler.pair(index) for index in range(PAIRS)):
        for name, found in errors.items():
            camera, pictures = CAMERAS[name], CameraPictures(manifest)
            pictures.calibrate(camera.lens)
            picture = photograph(pair.ground, wide_camera(sampler.camera.height_m), camera.lens, camera.mounting)
            shown = pictures.warped(picture, camera.mounting)
            assert (shown.covered is None) == (name != "60°, barrel")
            fix = localizer.localize(shown.rgb, as_patch(pair, manifest), covered=shown.covered)
            found.append(float(np.hypot(*(fix.frame.enu_to_local(fix.position) - pair.offset_m))))
    for found in errors.values():
        assert np.median(found) < 0.8
        assert np.abs(np.subtract(found, errors["90°"])).max() < 0.5


def test_engines_are_built_of_it_in_float32_alone(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed (extra [rtx])")
    export = pytest.importorskip("geoflow_ros.export.engines", reason="needs onnx")
    built = export.export_engines(FOLDER, compute_capabilities=["sm86"], out=tmp_path, workspace_mib=512)
    assert [path.stem for path in built] == list(Bundle.load(FOLDER).manifest.graphs)
    assert all(path.stat().st_size > 100_000 for path in built)
    with pytest.raises(BundleError, match="of the method birds_eye: give one of geoflow"):
        export.export_engines(FOLDER, compute_capabilities=["sm86"], out=tmp_path, precision="fp16")
