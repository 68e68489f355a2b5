"""Calibration files in ROS's format, and what else people give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import EQUIDISTANT, PLUMB_BOB, read_calibration

FILE = """\
image_width: 1280
image_height: 720
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [700.5, 0., 640.25, 0., 705., 355., 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.25, 0.08, 1e-3, -7.0e-04, 0.]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [650., 0., 642., 0., 0., 660., 350., 0., 0., 0., 1., 0.]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "front.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_camera_calibration_is_read(tmp_path: Path) -> None:
    camera = read_calibration(written(tmp_path, FILE))
    assert (camera.width_px, camera.height_px, camera.model) == (1280, 720, PLUMB_BOB)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (700.5, 705.0, 640.25, 355.0)
    assert camera.coefficients == (-0.25, 0.08, 0.001, -0.0007)
    assert read_calibration(f"file://{tmp_path / 'front.yaml'}") == camera


def test_rectified_images_take_the_projection_matrix(tmp_path: Path) -> None:
    camera = read_calibration(written(tmp_path, FILE), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.coefficients) == (650.0, 660.0, 642.0, 350.0, ())


def test_a_fisheye_with_a_region_and_binning_is_read(tmp_path: Path) -> None:
    text = FILE.replace("plumb_bob", "equidistant").replace("cols: 5", "cols: 4").replace(", 0.]\nrect", "]\nrect")
    text += "binning_x: 2\nbinning_y: 2\nroi: {x_offset: 80, y_offset: 20, width: 1000, height: 600}\n"
    camera = read_calibration(written(tmp_path, text))
    assert (camera.model, camera.width_px, camera.height_px) == (EQUIDISTANT, 500, 300)
    np.testing.assert_allclose((camera.fx, camera.cx), (350.25, (640.25 - 80 + 0.5) / 2 - 0.5))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n", "OpenCV's own format"),
        ("image_width: [1\nimage", "no YAML in line"),
        ("- 1\n- 2\n", "no entries such as camera_matrix"),
        ("", "no entries"),
        (FILE.replace("camera_matrix", "intrinsics"), "has no 'camera_matrix'"),
        (FILE.replace("image_width: 1280", "image_width: wide"), "cannot be used"),
        (FILE.replace("plumb_bob", "thin_prism"), "front.yaml: .*'thin_prism' is not one of"),
        (FILE.replace("data: [700.5", "data: [0.0"), "focal lengths"),
    ],
)
def test_what_is_no_calibration_is_refused_with_a_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_calibration(written(tmp_path, text))


def test_a_missing_file_and_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_calibration(tmp_path / "none.yaml")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="no text"):
        read_calibration(tmp_path / "a.png")
