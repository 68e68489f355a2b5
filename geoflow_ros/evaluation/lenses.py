"""How well a bundle localizes through other lenses than its own: the same places, photographed by real cameras.

Each picture is rendered once, wide and upright, and every camera reads its own from it; so all see the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.metrics import published_figures
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.synthetic import Protocol, answer_to, loaded, sampler_for
from geoflow_ros.evaluation.tables import metres, share, table
from geoflow_ros.geo.birds_eye import HORIZON
from geoflow_ros.geo.camera import EQUIDISTANT, Attitude, Intrinsics, Mounting
from geoflow_ros.inference import PatchLocalizer, open_localizer
from geoflow_ros.localization.camera_pictures import CameraPictures, ShownPicture
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.pairs import Pair, PairPictures, PairSampler
from geoflow_ros.world.places import Poses, Window
from geoflow_ros.world.real_camera import photograph
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.windows import Windows

_WIDE = (2000, 1000, 448.0, 448.0, 999.5, 420.0)  # 132 degrees, at the resolution that the lenses need
UNCALIBRATED = "60°, taken for the model's lens"


@dataclass(frozen=True)
class RealCamera:
    """One camera on a vehicle.

    Attributes:
        lens: its calibration.
        mounting: how it leans.
    """

    lens: Intrinsics
    mounting: Mounting = field(default_factory=Mounting)


def _pinhole(fov_deg: float) -> Intrinsics:
    focal = 640.0 / math.tan(math.radians(fov_deg / 2.0))
    return Intrinsics(1280, 720, focal, focal, 639.5, 359.5)


_BARREL = Intrinsics.of_calibration(
    (1280, 720), "plumb_bob", [1108.5, 0, 648.5, 0, 1103.0, 354.5, 0, 0, 1], [-0.21, 0.06, 0.0008, -0.0005, -0.01]
)
_FISHEYE = Intrinsics(960, 600, 300.0, 303.0, 487.3, 295.9, EQUIDISTANT, (0.03, -0.008, 0.002, -0.0004))

CAMERAS: Mapping[str, RealCamera] = MappingProxyType({
    "90°": RealCamera(_pinhole(90.0)),
    "fisheye": RealCamera(_FISHEYE),
    "fisheye, pitched 12°, rolled 3°": RealCamera(
        _FISHEYE, Mounting(lean=Attitude(math.radians(-3.0), math.radians(12.0)))
    ),
    "70°": RealCamera(_pinhole(70.0)),
    "60°, barrel": RealCamera(_BARREL),
    "60°, barrel, pitched 5°, rolled 3°": RealCamera(
        _BARREL, Mounting(lean=Attitude(math.radians(3.0), math.radians(5.0)))
    ),
    "45°": RealCamera(_pinhole(45.0)),
    "35°": RealCamera(_pinhole(35.0)),
})  # fmt: skip
"""Cameras of 16:9 and 16:10, by what is particular about them."""


class WidePairs(PairSampler):
    """Pairs whose camera image is the wide upright one."""

    def pictures(
        self, window: Window, camera: Poses, patch: Poses, offset_m: Float64Array, rng: np.random.Generator
    ) -> PairPictures:
        """Renders the wide image and the patch of a pair; see `PairSampler.pictures`."""
        windows, only = Windows.stack([window.raster]), np.zeros(1, np.int64)
        wide = render_views(windows, wide_camera(self.camera.height_m), only, *camera.float32()).rgb[0]
        satellite = render_patches(windows, self.satellite_size, self.ground_resolution_m, only, *patch.float32())[0][0]
        return PairPictures(wide, satellite)


def wide_camera(height_m: float) -> Camera:
    """Returns the camera that all lenses' pictures are read from."""
    return Camera.pinhole(*_WIDE, height_m)


@dataclass
class LensAnswers:
    """What was answered through one lens.

    Attributes:
        errors_m: (forward, right) answer less truth.
        covariances: (2, 2) of them.
        published: whether they are trusted.
        refused: why the lens is not taken at all; empty where it is.
    """

    errors_m: list[Float64Array] = field(default_factory=list)
    covariances: list[Float64Array] = field(default_factory=list)
    published: list[bool] = field(default_factory=list)
    refused: str = ""

    def figures(self) -> dict[str, Any]:
        """Computes the figures; those of what is published are absent where nothing is."""
        if self.refused:
            return {"refused": self.refused, "published": 0.0}
        errors, covariances = np.array(self.errors_m), np.array(self.covariances)
        published, distance = np.array(self.published), np.hypot(*errors.T)
        result: dict[str, Any] = {
            "mean_error_m": float(distance.mean()),
            "median_error_m": float(np.median(distance)),
            "published": float(published.mean()),
        }
        return result | published_figures(errors, covariances, published)


@dataclass(frozen=True)
class LensReport:
    """How one bundle does through each lens.

    Attributes:
        model: its name.
        pairs: how many pictures each lens took.
        lenses: figures by lens.
    """

    model: str
    pairs: int
    lenses: dict[str, dict[str, Any]]

    def text(self) -> str:
        """Formats the table that the command prints."""
        rows = [
            [
                name, metres(f.get("mean_error_m")), metres(f.get("median_error_m")), share(f["published"]),
                metres(f.get("published_mean_error_m")), metres(f.get("published_anees")),
            ]
            for name, f in self.lenses.items()
        ]  # fmt: skip
        header = ["camera", "mean m", "median m", "published %", "their mean m", "their ANEES"]
        refused = [f"{name}: {f['refused']}" for name, f in self.lenses.items() if "refused" in f]
        return "\n".join([f"{self.model}, {self.pairs} pictures a camera", "", table(header, rows), "", *refused])

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"model": self.model, "pairs": self.pairs, "lenses": self.lenses}


def measure_lenses(
    model: str | Path, protocol: Protocol, backend: BackendOptions, progress: bool = False
) -> LensReport:
    """Asks a bundle about the same places through every camera.

    Args:
        model: a bundle's folder or a shipped one's name.
        protocol: which pairs; its conditions are not looked at.
        backend: what runs the model.
        progress: show progress on standard error.

    Raises:
        GeoFlowError: a bundle that cannot be asked.
    """
    bundle = loaded(model)
    localizer = open_localizer(bundle, backend)
    sampler = sampler_for(bundle.manifest, protocol, WidePairs)
    wide = wide_camera(sampler.camera.height_m)
    pictures = {name: CameraPictures(bundle.manifest) for name in CAMERAS}
    for name, camera in CAMERAS.items():
        pictures[name].calibrate(camera.lens)
    answers = {name: LensAnswers() for name in (*CAMERAS, UNCALIBRATED)}
    for index, pair in enumerate(render_pairs(sampler, protocol.pairs, progress=progress)):
        for name, camera in CAMERAS.items():
            picture = photograph(pair.ground, wide, camera.lens, camera.mounting)
            try:
                shown = pictures[name].warped(picture, camera.mounting)
            except InputError as error:
                answers[name].refused = str(error)
                continue
            _ask(localizer, pair, index, protocol, shown, answers[name])
        cut = _cut_to_shape(photograph(pair.ground, wide, _pinhole(60.0), Mounting()))
        _ask(localizer, pair, index, protocol, ShownPicture(cut), answers[UNCALIBRATED])
    return LensReport(bundle.manifest.name, protocol.pairs, {name: found.figures() for name, found in answers.items()})


def _cut_to_shape(picture: UInt8Array) -> UInt8Array:
    """The part of a 16:9 picture that has the model's shape and its horizon, as people cut it without a calibration."""
    height = picture.shape[1] // 4
    top = round(picture.shape[0] / 2.0 - HORIZON * height)
    return np.ascontiguousarray(picture[top : top + height])


def _ask(
    localizer: PatchLocalizer, pair: Pair, index: int, protocol: Protocol, shown: ShownPicture, answers: LensAnswers
) -> None:
    fix = answer_to(localizer, replace(pair, ground=shown.rgb), index, protocol, shown.covered)
    answers.errors_m.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
    answers.covariances.append(fix.frame.rotate_covariance_to_local(fix.covariance))
    answers.published.append(fix.assessment.trustworthy)
