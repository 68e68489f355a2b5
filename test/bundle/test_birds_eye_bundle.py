"""Bundles of the bird's-eye method: what their manifest says, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes.birds_eye_bundle import CALIBRATION, write_placeholder_bundle

from geoflow_ros.bundle import BirdsEyeGeometry, Bundle, PoseCalibration
from geoflow_ros.bundle.methods import BIRDS_EYE_GRAPHS
from geoflow_ros.errors import BundleError, InputError

GEOMETRY = BirdsEyeGeometry(max_turn_deg=45.0, camera_height_m=1.5)
REMOVE = object()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_placeholder_bundle(tmp_path / "bundle", GEOMETRY)


def edit(folder: Path, path: str, value: object) -> None:
    """Sets (or removes) the entry at a dotted path of the manifest."""
    content = json.loads((folder / "manifest.json").read_text())
    *parents, last = path.split(".")
    target = content
    for key in parents:
        target = target[int(key) if isinstance(target, list) else key]
    if value is REMOVE:
        del target[last]
    else:
        target[last] = value
    (folder / "manifest.json").write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_birds_eye_bundle_says_what_its_network_looks_at(folder: Path) -> None:
    manifest = Bundle.load(folder).manifest
    assert manifest.method == "birds_eye"
    assert manifest.graphs == BIRDS_EYE_GRAPHS
    assert manifest.geometry == GEOMETRY
    model = manifest.birds_eye
    assert model is not None
    assert (model.none, model.outside, model.feature_channels) == (-1.5, 0.25, 8)
    assert model.calibration.camera_known == model.calibration.camera_unknown == CALIBRATION


def test_a_birds_eye_manifest_holds_nothing_of_the_other_method(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    assert not {"direction_family", "irs", "calibration"} & json.loads(text).keys()
    assert Bundle.load(folder).manifest.to_json() == text


def test_a_geoflow_manifest_is_written_as_it_was_read(shipped_bundle: Bundle) -> None:
    text = (shipped_bundle.path / "manifest.json").read_text()
    manifest = shipped_bundle.manifest
    assert not {"method", "birds_eye"} & json.loads(text).keys()
    assert manifest.method == "geoflow"
    assert manifest.to_json() == text
    with pytest.raises(BundleError, match="of the method geoflow, not birds_eye"):
        _ = manifest.geometry


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("method", "ostrich", "'method' is 'ostrich', known are geoflow, birds_eye"),
        ("method", 3, "'method' must be a text"),
        ("method", REMOVE, "'birds_eye' is an entry of birds_eye models, and this is one of geoflow"),
        ("birds_eye", REMOVE, "'birds_eye' is missing"),
        ("birds_eye", None, "'birds_eye' must be an object, not null"),
        ("birds_eye.camera_height_m", 0.0, "'birds_eye.camera_height_m' must be a number above 0"),
        ("birds_eye.none", float("nan"), "'birds_eye.none' must be"),
        ("birds_eye.horizon_row_px", REMOVE, "'birds_eye.horizon_row_px' is missing"),
        ("birds_eye.wings", 2, "'birds_eye.wings' is not an entry"),
        ("birds_eye.sky_rows_px", 30, "must be a positive multiple of 16"),
        ("birds_eye.fine_turn_deg", 50.0, "fine_turn_deg <= coarse_turn_deg"),
        (
            "birds_eye.calibration.camera_known.temperature",
            0.0,
            "'birds_eye.calibration.camera_known.temperature' must be a number above 0",
        ),
        ("birds_eye.fine_channels", 4, "'tensors.satellite_encoder'"),
        ("irs", {}, "'irs' is an entry of geoflow models, and this is one of birds_eye"),
        ("satellite.size_px", 260, "satellite_size_px is 260; it must be a positive multiple of 16"),
        ("satellite.ground_resolution_m", 0.1, "outside the satellite patch"),
        ("alignment", "north-up", "a bird's-eye network takes 'forward-x'"),
        ("search_radius_m", 10.0, "'tensors.coarse_matcher'"),
        ("tensors.coarse_matcher", REMOVE, "'tensors.coarse_matcher' is missing"),
        ("tensors.head", {"inputs": [], "outputs": []}, "'tensors.head' is not a graph of birds_eye models"),
        ("tensors.fine_matcher.inputs.4.dtype", "int32", "input camera is int32 (M); must be int64 (M)"),
        ("files", {}, "no checksum of satellite_encoder.onnx"),
    ],
)
def test_an_entry_that_no_birds_eye_model_can_have_is_named(
    folder: Path, path: str, value: object, reason: str
) -> None:
    edit(folder, path, value)
    assert reason in refusal(folder)


def test_a_covariance_is_scaled_by_axis_and_never_below_its_floor() -> None:
    raw = np.array([[4.0, 1.0, 0.1], [1.0, 1.0, 0.2], [0.1, 0.2, 0.25]])
    unfitted = PoseCalibration.unfitted()
    assert unfitted.apply(raw) - raw == pytest.approx(np.diag([0.25**2, 0.25**2, 0.007**2]))
    fitted = PoseCalibration(1.0, 2.0, 3.0, 0.5, 0.3, 0.4, 0.1, 10, "worked out by hand")
    expected = [[16.09, 6.0, 0.1], [6.0, 9.16, 0.3], [0.1, 0.3, 0.0725]]
    np.testing.assert_allclose(fitted.apply(raw), expected)
    np.testing.assert_allclose(fitted.apply(np.stack([raw, raw]))[1], expected)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.0), ("yaw_scale", float("inf")), ("yaw_floor_rad", -0.1), ("pairs", -1)]
)
def test_a_calibration_that_cannot_be_is_refused(name: str, value: float) -> None:
    values = {**CALIBRATION.__dict__, name: value}
    with pytest.raises(InputError, match=name):
        PoseCalibration(**values)
