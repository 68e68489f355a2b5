"""One fix as a poster: what the camera sees, and the hypotheses that flow to the answer on the map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.fix import Fix, GeoFlowFix
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.visualization.birds_eye import draw_posterior
from geoflow_ros.visualization.plots import (
    FIX,
    FLOW,
    POSTER_DPI,
    TRACK,
    TRUTH,
    dark_legend,
    ellipse_outline,
    muted,
    panel,
    pyplot,
    save_figure,
    scale_bar,
    shadow,
)

_WIDTH_IN = 12.0
_SIDE_IN = 3.9  # of the column with what the model was given
_GAP_IN = 0.5  # room for a caption
_VIEW_MARGIN = 1.3  # the map shows this many search radii around the prior
_PRIOR = "#ff9df5"
# Fills the corner below the patch.
_LEGEND_STYLE = {"fontsize": 12, "borderaxespad": 0.0, "borderpad": 0.8, "labelspacing": 0.45, "mode": "expand"}


@dataclass(frozen=True, eq=False)
class FixScene:
    """What a fix was made from, and the same in finer pictures for people.

    Attributes:
        ground: (h, w, 3) RGB uint8, the camera image that the localizer was given.
        view: (H, W, 3) RGB uint8, the same view, of any resolution.
        patch: the satellite patch that the localizer was given.
        map_view: the same ground with the same centre and yaw, of any resolution.
        truth_enu: (2,) the camera's true position in the map, metres; None where it is not known.
    """

    ground: UInt8Array
    view: UInt8Array
    patch: SatellitePatch
    map_view: SatellitePatch
    truth_enu: Float64Array | None = None


def fix_picture(fix: Fix, scene: FixScene, path: Path) -> None:
    """Draws the camera's view over the map with the hypotheses or the posterior, the answer and its 95 % ellipse.

    Forward is up, so that what is left in the camera image is left on the map.

    Args:
        fix: made from the scene's image and patch.
        scene: the pictures.
        path: the picture to write.
    """
    plt = pyplot()
    strip_in = _WIDTH_IN * scene.view.shape[0] / scene.view.shape[1]
    map_in = _WIDTH_IN - _SIDE_IN - _GAP_IN / 2
    figure = plt.figure(figsize=(_WIDTH_IN, strip_in + _GAP_IN + map_in))

    height, width = scene.view.shape[:2]
    caption = f"what the camera sees, drawn at {width} x {height} px"
    camera = panel(figure, (0.0, map_in + _GAP_IN, _WIDTH_IN, strip_in), caption)
    camera.imshow(scene.view, interpolation="lanczos", aspect="auto")
    chart = panel(figure, (0.0, 0.0, map_in, map_in), "where it was taken: the map, forward is up")
    _draw_map(chart, fix, scene)

    left_in = _WIDTH_IN - _SIDE_IN
    height, width = scene.ground.shape[:2]
    image_in = _SIDE_IN * height / width
    caption = f"the model's camera image, {width} x {height} px"
    given = panel(figure, (left_in, map_in - image_in, _SIDE_IN, image_in), caption)
    given.imshow(scene.ground, interpolation="lanczos", aspect="auto")
    bottom_in = map_in - image_in - _GAP_IN - _SIDE_IN
    size_px, extent_m = scene.patch.frame.size_px, scene.patch.frame.extent_m
    caption = f"its satellite patch, {size_px} x {size_px} px, {extent_m:.0f} m"
    patch = panel(figure, (left_in, bottom_in, _SIDE_IN, _SIDE_IN), caption)
    patch.imshow(_forward_up(scene.patch.pixels), interpolation="lanczos", aspect="auto")
    words = panel(figure, (left_in, 0.0, _SIDE_IN, bottom_in))
    dark_legend(words, handles=_legend_handles(plt, fix, scene), loc="lower left", **_LEGEND_STYLE)
    save_figure(figure, path, POSTER_DPI)


def _draw_map(axes: Any, fix: Fix, scene: FixScene) -> None:
    """Draws the map around the prior, right and forward of it in metres, and the fix on it."""
    half = scene.map_view.frame.extent_m / 2
    ground = muted(scene.map_view.pixels)
    if isinstance(fix, BirdsEyeFix):
        ground = draw_posterior(ground, fix)
    axes.imshow(_forward_up(ground), extent=(-half, half, -half, half), interpolation="lanczos")
    reach = min(_VIEW_MARGIN * fix.search_radius_m, half)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    radius = fix.search_radius_m
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * radius
    axes.plot(*square.T, color="white", ls=(0, (2, 2)), lw=1.8, path_effects=shadow(3.2), zorder=2)
    if isinstance(fix, GeoFlowFix):
        flow = _right_forward(fix, fix.path)  # (R + 1, N, 2)
        axes.plot(flow[:, :, 0], flow[:, :, 1], color=FLOW, lw=1.3, alpha=0.9, path_effects=shadow(2.4), zorder=3)
        axes.plot(flow[0, :, 0], flow[0, :, 1], "o", color=FLOW, mec="black", mew=0.8, ms=6, zorder=4)
    else:
        axes.plot(*_right_forward(fix, fix.hypotheses).T, "o", color=FLOW, mec="black", mew=0.8, ms=9, zorder=4)
    axes.plot(0.0, 0.0, "^", color=_PRIOR, mec="black", mew=1.2, ms=15, zorder=6)
    answer = fix.position
    outline = _right_forward(fix, ellipse_outline(answer, fix.covariance))
    axes.fill(*outline.T, facecolor=FIX + "30", edgecolor=FIX, lw=2.8, path_effects=shadow(4.4), zorder=5)
    axes.plot(*_right_forward(fix, answer), "o", color=TRACK, mec="white", mew=1.8, ms=12, zorder=8)
    if scene.truth_enu is not None:
        at = _right_forward(fix, scene.truth_enu)
        axes.plot(*at, "+", color="black", ms=26, mew=6, zorder=9)
        axes.plot(*at, "+", color=TRUTH, ms=24, mew=3, zorder=9)
    scale_bar(axes)


def _legend_handles(plt: Any, fix: Fix, scene: FixScene) -> list[Any]:
    """The legend's entries, with the error where the truth is known."""
    line = plt.Line2D
    hypotheses = "places that compete" if len(fix.hypotheses) > 1 else "the only place"
    if isinstance(fix, GeoFlowFix):
        hypotheses = f"{fix.path.shape[1]} hypotheses, {len(fix.path) - 1} iterations"
    answer = "answer"
    if scene.truth_enu is not None:
        answer = f"answer, {math.hypot(*(fix.position - scene.truth_enu)):.1f} m from the truth"
    handles = [
        line([], [], color="white", lw=2, ls=(0, (2, 2)), label=f"search square, {2 * fix.search_radius_m:.0f} m"),
        line([], [], color=_PRIOR, marker="^", mec="black", ms=12, lw=0, label="prior"),
        line([], [], color=FLOW, marker="o", mec="black", ms=7, lw=2, label=hypotheses),
        line([], [], color=FIX, lw=3, label="95 % ellipse"),
        line([], [], color=TRACK, marker="o", mec="white", mew=1.5, ms=11, lw=0, label=answer),
    ]
    if scene.truth_enu is not None:
        handles.append(line([], [], color=TRUTH, marker="+", ms=15, mew=3, lw=0, label="truth"))
    return handles


def _forward_up(pixels: UInt8Array) -> UInt8Array:
    """Turns a patch's picture, whose forward is to the right, so that forward is up."""
    return np.rot90(pixels)


def _right_forward(fix: Fix, enu_m: Float64Array) -> Float64Array:
    """(..., 2) metres right and forward of the prior, from (..., 2) map coordinates."""
    return fix.frame.enu_to_local(enu_m)[..., ::-1]
