"""A fix drawn on its satellite patch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.gaussian import confidence_ellipse
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.fix import Fix, GeoFlowFix
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.visualization.birds_eye import draw_cells, draw_posterior, lay_on_patch

Colour = tuple[int, int, int]

# RGB. Warm for the estimate, cool for what was assumed, green for the truth.
_START: Colour = (70, 170, 255)
_END: Colour = (255, 210, 40)
_ANSWER: Colour = (255, 60, 50)
_UNTRUSTED: Colour = (190, 190, 190)
_ASSUMED: Colour = (255, 255, 255)
_TRUTH: Colour = (60, 255, 90)
_SHADOW: Colour = (20, 20, 20)

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_BAR_LENGTHS_M = (1, 2, 5, 10, 20, 50, 100)
_CONFIDENCE = 0.95
_MIN_SIZE_PX = 64
_WEDGE_SHARE = 0.3  # of the patch's side: how far the camera's wedge is drawn
_UNIT_SIZE_PX = 1024.0  # at which lines and text have the widths given here
_BRIGHTNESS = 0.78  # of the patch: on darker ground thin bright lines stand out


def draw_fix(patch: SatellitePatch, fix: Fix, truth_enu: ArrayLike | None = None, size_px: int = 1024) -> UInt8Array:
    """Draws what the localizer did on its patch.

    Each hypothesis's path runs from blue to yellow; the red dot is the answer with its 95 % ellipse (grey where the fix
    is not trustworthy), the white arrow the assumed position and heading, the white square the search area, the green
    cross the truth. A fix of the bird's-eye method has the camera's image above and laid on the patch, how probable
    each place is as a heat map, and the ground that the network trusts as dots of one colour in both images.

    Args:
        patch: on which the fix was made.
        fix: of the localizer.
        truth_enu: (2,) true camera position in the map, ENU metres, where it is known.
        size_px: side of the picture.

    Returns:
        RGB uint8 (size_px, size_px, 3), higher by the camera's image for a bird's-eye fix.

    Raises:
        InputError: the picture would be too small to be read.
    """
    if size_px < _MIN_SIZE_PX:
        raise InputError(f"the picture must be at least {_MIN_SIZE_PX} px wide, got {size_px}")
    picture = _Canvas(patch, size_px).draw(fix, truth_enu)
    return draw_cells(picture, fix) if isinstance(fix, BirdsEyeFix) else picture


def draw_patch(patch: SatellitePatch, horizontal_fov_deg: float | None = None, size_px: int = 1024) -> UInt8Array:
    """Draws a patch as the network would see it: forward to the right, with the camera's wedge and a scale bar.

    Args:
        patch: whose centre is where the camera is thought to be.
        horizontal_fov_deg: of the camera; None draws the way forward alone.
        size_px: side of the picture.

    Returns:
        RGB uint8 (size_px, size_px, 3). What shows no ground has the colour that the network is shown there.

    Raises:
        InputError: the picture would be too small to be read.
    """
    if size_px < _MIN_SIZE_PX:
        raise InputError(f"the picture must be at least {_MIN_SIZE_PX} px wide, got {size_px}")
    return _Canvas(patch, size_px, brightness=1.0).draw_camera(horizontal_fov_deg)


class _Canvas:
    """An enlarged patch that is drawn on in map coordinates."""

    def __init__(self, patch: SatellitePatch, size_px: int, brightness: float = _BRIGHTNESS) -> None:
        self._frame = patch.frame
        self._scale = size_px / patch.frame.size_px
        self._unit = size_px / _UNIT_SIZE_PX  # line widths and text grow with the picture
        enlarging = self._scale > 1.0
        self._image: UInt8Array = np.ascontiguousarray(
            cv2.resize(
                patch.pixels, (size_px, size_px), interpolation=cv2.INTER_CUBIC if enlarging else cv2.INTER_AREA
            ),
            dtype=np.uint8,
        )
        self._image = (self._image * brightness).astype(np.uint8)

    def draw(self, fix: Fix, truth_enu: ArrayLike | None) -> UInt8Array:
        if isinstance(fix, BirdsEyeFix):
            self._image = draw_posterior(lay_on_patch(self._image, fix), fix)
        self._search_square(fix)
        if isinstance(fix, GeoFlowFix):
            self._paths(fix)
        self._assumed_pose(fix)
        self._answer(fix)
        if truth_enu is not None:
            self._truth(np.asarray(truth_enu, dtype=np.float64))
        self._scale_bar()
        self._caption(fix, truth_enu is not None)
        return self._image

    def draw_camera(self, horizontal_fov_deg: float | None) -> UInt8Array:
        reach_m = _WEDGE_SHARE * self._frame.extent_m
        half_rad = np.radians((horizontal_fov_deg or 0.0) / 2.0)
        bearings = np.linspace(-half_rad, half_rad, 33)
        arc = reach_m * np.stack([np.cos(bearings), np.sin(bearings)], axis=-1)
        wedge = np.concatenate([[[0.0, 0.0]], arc])
        self._outlined(self._pixels(self._frame.local_to_enu(wedge)), _ASSUMED, 2.0, closed=True)
        self._dot(self._pixels(self._frame.local_to_enu([0.0, 0.0])), _ANSWER, 6.5)
        self._scale_bar()
        return self._image

    def _pixels(self, enu_m: Float64Array) -> Float64Array:
        """Converts (..., 2) map coordinates to pixels; centres of pixels are whole numbers in patch and picture."""
        return (self._frame.to_pixel(enu_m) + 0.5) * self._scale - 0.5

    def _width(self, width: float) -> int:
        return max(1, round(width * self._unit))

    def _line(self, points: Float64Array, colour: Colour, width: float, closed: bool = False) -> None:
        fixed = np.round(points * 2**_SHIFT).astype(np.int32)[None]
        cv2.polylines(self._image, [fixed], closed, colour, self._width(width), cv2.LINE_AA, _SHIFT)

    def _outlined(self, points: Float64Array, colour: Colour, width: float, closed: bool = False) -> None:
        self._line(points, _SHADOW, width + 2.0, closed)
        self._line(points, colour, width, closed)

    def _dot(self, point: Float64Array, colour: Colour, radius: float) -> None:
        centre = tuple(int(value) for value in np.round(point * 2**_SHIFT))
        fixed_radius = round(max(1.0, radius * self._unit) * 2**_SHIFT)
        cv2.circle(self._image, centre, fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def _search_square(self, fix: Fix) -> None:
        corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * fix.search_radius_m
        self._line(self._pixels(self._frame.local_to_enu(corners)), _ASSUMED, 1.5, closed=True)

    def _paths(self, fix: GeoFlowFix) -> None:
        steps = len(fix.path) - 1
        points = self._pixels(fix.path)  # (R + 1, N, 2)
        start, end = np.array(_START, dtype=np.float64), np.array(_END, dtype=np.float64)
        colours = [start + (end - start) * step / max(steps, 1) for step in range(steps + 1)]
        # a cloud of a thousand needs thinner marks than ten
        weight = min(1.0, (40.0 / points.shape[1]) ** 0.5)
        for step in range(steps):
            colour = _colour(colours[step])
            for a, b in zip(points[step], points[step + 1], strict=True):
                self._line(np.stack([a, b]), colour, 2.0 * weight)
        for step, colour_value in enumerate(colours):
            for point in points[step]:
                self._dot(point, _colour(colour_value), (4.5 if step == 0 else 3.5) * weight)

    def _assumed_pose(self, fix: Fix) -> None:
        reach = 0.35 * fix.search_radius_m
        shaft = np.array([[0.0, 0.0], [reach, 0.0]])
        head = reach * np.array([[0.75, -0.16], [1.0, 0.0], [0.75, 0.16]])
        for part in (shaft, head):
            self._outlined(self._pixels(self._frame.local_to_enu(part)), _ASSUMED, 3.0)
        self._dot(self._pixels(self._frame.local_to_enu([0.0, 0.0])), _ASSUMED, 5.0)

    def _answer(self, fix: Fix) -> None:
        colour = _ANSWER if fix.assessment.trustworthy else _UNTRUSTED
        ellipse = confidence_ellipse(fix.covariance, _CONFIDENCE)
        turn = np.linspace(0.0, 2.0 * np.pi, 97)[:-1]
        bearing = np.radians(ellipse.bearing_deg)
        major = np.array([np.sin(bearing), np.cos(bearing)])  # east, north
        minor = np.array([major[1], -major[0]])
        outline = (
            fix.position
            + ellipse.semi_major_m * np.cos(turn)[:, None] * major
            + ellipse.semi_minor_m * np.sin(turn)[:, None] * minor
        )
        self._outlined(self._pixels(outline), colour, 3.0, closed=True)
        point = self._pixels(fix.position)
        self._dot(point, _SHADOW, 8.5)
        self._dot(point, colour, 6.5)

    def _truth(self, truth_enu: Float64Array) -> None:
        centre = self._pixels(truth_enu)
        # open in the middle, so that an answer at the same place is seen
        for direction in ([1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]):
            arm = self._unit * np.array(direction)
            self._outlined(np.stack([centre + 8.0 * arm, centre + 18.0 * arm]), _TRUTH, 3.0)
        self._dot(centre, _TRUTH, 3.0)

    def _scale_bar(self) -> None:
        size = self._image.shape[0]
        px_per_m = self._scale / self._frame.ground_resolution_m
        fitting = [length for length in _BAR_LENGTHS_M if length * px_per_m <= 0.25 * size]
        length_m = fitting[-1] if fitting else _BAR_LENGTHS_M[0]
        right, y = size - 0.03 * size, size - 0.035 * size
        left = right - length_m * px_per_m
        tick = 7.0 * self._unit
        bar = np.array([[left, y - tick], [left, y], [right, y], [right, y - tick]])
        self._outlined(bar, _ASSUMED, 3.0)
        self._text(f"{length_m} m", left, y - 2.2 * tick, _ASSUMED)

    def _caption(self, fix: Fix, with_truth: bool) -> None:
        ellipse = confidence_ellipse(fix.covariance, _CONFIDENCE)
        colour = _ANSWER if fix.assessment.trustworthy else _UNTRUSTED
        answer = f"answer, 95 %: {ellipse.semi_major_m:.1f} x {ellipse.semi_minor_m:.1f} m"
        lines = [(answer if fix.assessment.trustworthy else f"{answer} (not trustworthy)", colour)]
        if isinstance(fix, GeoFlowFix):
            lines.append((f"{len(fix.hypotheses)} hypotheses, {len(fix.path) - 1} iterations", _END))
        elif isinstance(fix, BirdsEyeFix):
            places = " ".join(f"{100.0 * mass:.0f} %" for mass in fix.masses)
            lines.append((f"places: {places}, none {100.0 * fix.posterior.none_probability:.0f} %", _END))
        lines.append(("assumed pose and search area", _ASSUMED))
        if with_truth:
            lines.append(("truth", _TRUTH))
        for index, (text, text_colour) in enumerate(lines):
            self._text(text, 18.0 * self._unit, (32.0 + 28.0 * index) * self._unit, text_colour)

    def _text(self, text: str, x: float, y: float, colour: Colour) -> None:
        place, font, size = (round(x), round(y)), cv2.FONT_HERSHEY_SIMPLEX, 0.7 * self._unit
        cv2.putText(self._image, text, place, font, size, _SHADOW, self._width(4.0), cv2.LINE_AA)
        cv2.putText(self._image, text, place, font, size, colour, self._width(1.7), cv2.LINE_AA)


def _colour(value: Float64Array) -> Colour:
    red, green, blue = (round(float(channel)) for channel in value)
    return red, green, blue
