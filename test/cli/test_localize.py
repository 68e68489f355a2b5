"""`geoflow localize`: one picture in, a position out; what cannot be answered is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.bundle import write_bundle
from fakes.command_line import only_line, run
from fakes.town import TownView

Localize = Callable[..., int]


@pytest.fixture
def localize(converging_bundle: Path, town_map: Path, town_view: TownView) -> Localize:
    """Runs the command on the town's view; keywords replace what it gives, further arguments follow."""

    def localize(*more: str | Path, **replaced: object) -> int:
        image, lat, lon, heading = town_view
        given = {"image": image, "lat": lat, "lon": lon, "heading": heading}
        given |= {"tiles": town_map, "model": converging_bundle, **replaced}
        return run("localize", *(f"--{name}={value}" for name, value in given.items()), *more)

    return localize


def test_it_gives_position_ellipse_and_picture(
    localize: Localize,
    town_view: TownView,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, facts = tmp_path / "new" / "fix.png", tmp_path / "fix.json"
    assert localize("--out", out, "--json", facts) == 0
    printed = capsys.readouterr().out
    assert "latitude" in printed
    assert "longitude" in printed
    assert "ellipse" in printed
    result = json.loads(facts.read_text())
    assert abs(result["latitude_deg"] - town_view.lat_deg) < 1e-3
    assert abs(result["longitude_deg"] - town_view.lon_deg) < 1e-3
    assert np.linalg.eigvalsh(result["covariance_m2"]).min() > 0
    assert cv2.imread(str(out)) is not None


def test_what_is_not_an_image_is_refused(
    localize: Localize, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    assert localize(image=tmp_path / "text.png") == 2
    assert "text.png" in only_line(capsys)


def test_a_picture_of_another_shape_is_refused(
    localize: Localize, town_view: TownView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square = np.asarray(cv2.imread(str(town_view.image)))[:64, :64]
    assert cv2.imwrite(str(tmp_path / "square.png"), square)
    assert localize(image=tmp_path / "square.png") == 2
    assert "64 x 64" in only_line(capsys)


CALIBRATION = """\
image_width: {0}
image_height: {1}
distortion_model: plumb_bob
camera_matrix: {{rows: 3, cols: 3, data: [{2}, 0, {3}, 0, {2}, {4}, 0, 0, 1]}}
distortion_coefficients: {{rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}}
"""


def test_a_calibrated_picture_of_another_shape_is_localized_as_the_models_own(
    town_map: Path, town_view: TownView, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path)  # it says its lens

    def localize(image: Path, *more: str | Path) -> int:
        place = (f"--lat={town_view.lat_deg}", f"--lon={town_view.lon_deg}", f"--heading={town_view.heading_deg}")
        return run("localize", f"--image={image}", f"--tiles={town_map}", f"--model={bundle}", *place, *more)

    own = np.asarray(cv2.imread(str(town_view.image)))
    assert localize(town_view.image, "--json", tmp_path / "own.json") == 0
    assert "taken for the model's (perspective, 90° wide, 4:1)" in capsys.readouterr().out
    height, width = own.shape[:2]
    # The same camera with sky and bonnet: rows above and below that the model does not look at.
    tall = cv2.copyMakeBorder(own, height, height // 2, 0, 0, cv2.BORDER_REPLICATE)
    picture, calibration = tmp_path / "tall.png", tmp_path / "front.yaml"
    cv2.imwrite(str(picture), tall)
    horizon = height + 0.4 * height - 0.5
    calibration.write_text(CALIBRATION.format(width, len(tall), width / 2, (width - 1) / 2, horizon), encoding="utf-8")
    given = ("--calibration", calibration, "--json", tmp_path / "tall.json")
    assert localize(picture, *given) == 0
    assert f"plumb_bob, {width} x {len(tall)}" in capsys.readouterr().out
    results = [json.loads((tmp_path / name).read_text()) for name in ("own.json", "tall.json")]
    assert results[1]["east_m"] == pytest.approx(results[0]["east_m"], abs=0.1)
    assert results[1]["north_m"] == pytest.approx(results[0]["north_m"], abs=0.1)
    # A camera that is said to look at the sky shows no ground.
    assert localize(picture, *given, "--camera-pitch=-40") == 2
    assert "of the ground that the model" in only_line(capsys)
    assert localize(picture, *given, "--camera-height=9") == 2
    assert "check the camera's height" in only_line(capsys)
    assert localize(picture, "--calibration", tmp_path / "none.yaml") == 2
    assert "none.yaml cannot be read" in only_line(capsys)


@pytest.mark.parametrize(
    ("height", "width", "reason"), [(256, 1024, "its contrast is 0.00 grey levels"), (1, 4, "4 x 1 pixels, too few")]
)
def test_a_picture_that_shows_nothing_is_refused(
    localize: Localize, height: int, width: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cv2.imwrite(str(tmp_path / "black.png"), np.zeros((height, width, 3), np.uint8))
    assert localize(image=tmp_path / "black.png") == 2
    assert reason in only_line(capsys)


def test_a_place_outside_the_map_is_refused(localize: Localize, capsys: pytest.CaptureFixture[str]) -> None:
    assert localize(lat=48.0) == 2
    only_line(capsys)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("lat", 95, "argument --lat: must be between -90 and 90 degrees, not 95"),
        ("lon", "inf", "argument --lon: must be between -180 and 180 degrees, not inf"),
        ("heading", 400, "argument --heading: must be between -360 and 360 degrees clockwise from north, not 400"),
        ("heading", "nan", "argument --heading"),
    ],
)
def test_a_place_or_heading_that_cannot_be_is_refused_by_its_name(
    localize: Localize, option: str, value: object, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert localize(**{option: value}) == 2
    assert reason in only_line(capsys)


@pytest.mark.parametrize("heading", [1.94, -3.1])
def test_a_heading_that_looks_like_radians_is_warned_of(
    localize: Localize, heading: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert localize(heading=heading) == 0
    line = only_line(capsys)
    assert "warning: --heading" in line
    assert f"{np.degrees(heading):.1f}" in line


@pytest.mark.parametrize("heading", [0, 2, -5, 6.5, 111.2, -360, 360])
def test_a_heading_in_degrees_is_taken_without_a_word(
    localize: Localize, heading: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert localize(heading=heading) == 0
    assert capsys.readouterr().err == ""


def test_a_damaged_bundle_is_refused(
    localize: Localize, converging_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(converging_bundle, copy)
    (copy / "head.onnx").write_bytes(b"damaged")
    assert localize(model=copy) == 2
    assert "head.onnx" in only_line(capsys)


def test_an_output_that_cannot_be_written_is_one_line(
    localize: Localize, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert localize("--out", tmp_path / "file" / "fix.png") == 2
    assert "file" in only_line(capsys)
    assert localize("--json", tmp_path / "file" / "fix.json") == 2
    assert "file" in only_line(capsys)
