"""Calibration files in ROS's format, as `camera_calibration` writes them and `camera_info_manager` reads them.

::

    image_width: 1280
    image_height: 720
    camera_name: front
    camera_matrix: {rows: 3, cols: 3, data: [700.0, 0.0, 640.0, 0.0, 700.0, 360.0, 0.0, 0.0, 1.0]}
    distortion_model: plumb_bob
    distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.05, 0.0, 0.0, 0.0]}
    rectification_matrix: {rows: 3, cols: 3, data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}
    projection_matrix: {rows: 3, cols: 4, data: [650.0, 0.0, 640.0, 0.0, 0.0, 650.0, 360.0, 0.0, 0.0, 0.0, 1.0, 0.0]}

`roi` and `binning_x`, `binning_y` are taken as in sensor_msgs/CameraInfo, where they are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera.intrinsics import Intrinsics

_OPENCV_HEADER = "%YAML:"  # OpenCV's own YAML, which is none


def read_calibration(path: str | Path, *, rectified: bool = False) -> Intrinsics:
    """The calibration of the images that a file describes.

    Args:
        path: of the file; `file://` may stand before it, as in ROS's `camera_info_url`.
        rectified: whether the images are rectified already: then P and R count, and not K and D.

    Raises:
        InputError: it cannot be read, is not in the format, or holds what no camera has.
    """
    path = Path(str(path).removeprefix("file://")).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"the calibration {path} cannot be read ({reason}): give a file in ROS's format") from None
    if text.startswith(_OPENCV_HEADER):
        raise InputError(f"the calibration {path} is in OpenCV's own format: give one in ROS's (camera_calibration's)")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = "" if place is None else f" in line {place.line + 1}"
        raise InputError(f"the calibration {path} is no YAML{where}") from None
    if not isinstance(content, Mapping):
        raise InputError(f"the calibration {path} holds no entries such as camera_matrix: give a file in ROS's format")
    try:
        return _intrinsics(content, rectified)
    except KeyError as error:
        raise InputError(f"the calibration {path} has no {error}: give a file in ROS's format") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the calibration {path} cannot be used ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _intrinsics(content: Mapping[str, Any], rectified: bool) -> Intrinsics:
    size = int(content["image_width"]), int(content["image_height"])
    if rectified:
        identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        turned = _data(content["rectification_matrix"]) if "rectification_matrix" in content else identity
        full = Intrinsics.of_rectified(size, _data(content["projection_matrix"]), turned)
    else:
        coefficients = _data(content["distortion_coefficients"]) if "distortion_coefficients" in content else []
        model = str(content.get("distortion_model", content.get("camera_model", "")))
        full = Intrinsics.of_calibration(size, model, _data(content["camera_matrix"]), coefficients)
    roi = content.get("roi") or {}
    binning = (int(content.get("binning_x") or 1), int(content.get("binning_y") or 1))
    left, top, width, height = (int(roi.get(name, 0)) for name in ("x_offset", "y_offset", "width", "height"))
    return full.of_region(left, top, width, height, binning)


def _data(entry: Any) -> list[float]:
    """The numbers of a matrix, which stand under `data` or, as some write it, alone."""
    return [float(value) for value in (entry["data"] if isinstance(entry, Mapping) else entry)]
