"""One camera image from a file, on a map: what `geoflow localize` does."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoflow_ros.backends import BackendOptions
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.geo import Datum, yaw_from_heading_deg
from geoflow_ros.geo.camera import Intrinsics, Mounting
from geoflow_ros.geo.gaussian import confidence_ellipse
from geoflow_ros.images import read_image
from geoflow_ros.inference.fix import Fix
from geoflow_ros.inference.opening import open_localizer
from geoflow_ros.inference.protocol import PatchLocalizer, SearchSettings
from geoflow_ros.localization.camera_pictures import CameraPictures
from geoflow_ros.localization.picture_check import check_picture
from geoflow_ros.tiles import CacheSettings, SatelliteMap, SatellitePatch, TileSource, open_tile_source

_CONFIDENCE = 0.95
_FULL_TURN_DEG = 360.0


@dataclass(frozen=True, eq=False)
class LocalizedImage:
    """Where one image was taken.

    Attributes:
        fix: of the camera.
        patch: on which it was found.
        datum: of the map frame that the fix is in.
        lens: what it was taken to be taken with, in a few words.
    """

    fix: Fix
    patch: SatellitePatch
    datum: Datum
    lens: str

    def as_json(self) -> dict[str, Any]:
        """Plain values: position in degrees and metres, covariance in m^2, 95 % ellipse, quality and timings.

        A method that measures the heading adds it, in degrees clockwise from north.
        """
        fix = self.fix
        latitude_deg, longitude_deg = self.datum.to_latlon(fix.east_m, fix.north_m)
        measured = {}
        if fix.yaw_rad is not None and fix.yaw_variance_rad2 is not None:
            measured = {
                "heading_deg": (90.0 - math.degrees(fix.yaw_rad)) % _FULL_TURN_DEG,
                "heading_std_deg": math.degrees(math.sqrt(fix.yaw_variance_rad2)),
            }
        return {
            "latitude_deg": float(latitude_deg),
            "longitude_deg": float(longitude_deg),
            "east_m": fix.east_m,
            "north_m": fix.north_m,
            **measured,
            "covariance_m2": fix.covariance.tolist(),
            "ellipse": asdict(confidence_ellipse(fix.covariance, _CONFIDENCE)),
            "lens": self.lens,
            "patch_ground_share": self.patch.ground_share,
            "quality": asdict(fix.assessment),
            "timings": asdict(fix.timings),
        }


def localize_image(
    image_path: str | Path,
    lat_deg: float,
    lon_deg: float,
    heading_deg: float,
    tiles_spec: str | Path,
    model_path: str | Path,
    *,
    seed: int = 0,
    hypotheses: int | None = None,
    iterations: int | None = None,
    heading_error_deg: float | None = None,
    position_error_m: float | None = None,
    intrinsics: Intrinsics | None = None,
    mounting: Mounting | None = None,
    backend: BackendOptions | None = None,
    cache: CacheSettings | None = None,
) -> LocalizedImage:
    """Localizes one image near a rough position.

    Args:
        image_path: JPEG, PNG or any other picture that OpenCV reads.
        lat_deg: latitude of where the camera is thought to be, WGS84, within the model's search radius.
        lon_deg: longitude of the same.
        heading_deg: compass heading of the camera's forward, clockwise from north.
        tiles_spec: MBTiles file or XYZ address, see `open_tile_source`.
        model_path: folder of a bundle.
        seed: of the hypotheses.
        hypotheses: N; the bundle's where None.
        iterations: R; the bundle's where None.
        heading_error_deg: by how much the heading may be wrong; what the model was trained for where None.
        position_error_m: how far the position may be off, forward and sideways; the search radius where None.
        intrinsics: of the camera's lens; taken for the model's where None.
        mounting: how the camera leans, and its height above the ground; level and as high as the model's where None.
        backend: what runs the model, see `open_backend`.
        cache: where servers' tiles are kept on disk; None keeps none.

    Returns:
        The fix, in a map frame whose datum is (lat_deg, lon_deg).

    Raises:
        ImageError: the file is not a picture, does not fit the model, or shows nothing (see `check_picture`).
        InputError: a latitude, longitude or heading that cannot be, a calibration of other images, or a camera that
            shows too little of the ground.
        GeoFlowError: what geodesy, tiles and bundle find wrong; see there.
    """
    _check_place(lat_deg, lon_deg, heading_deg)
    ground = read_image(image_path)
    datum = Datum(lat_deg, lon_deg)
    bundle = Bundle.load(model_path)
    check_picture(ground, bundle.manifest)
    camera = CameraPictures(bundle.manifest)
    camera.calibrate(intrinsics)
    shown = camera.warped(ground, mounting or Mounting())
    localizer = open_localizer(bundle, backend, seed, SearchSettings(hypotheses, iterations))
    error_rad = _searched_rad(localizer, heading_error_deg)
    patch = _patch_at(bundle.manifest, open_tile_source(tiles_spec, cache=cache), datum, heading_deg)
    fix = localizer.localize(shown.rgb, patch, 0, error_rad, position_error_m, shown.covered)
    assumed = f"taken for the model's ({bundle.manifest.camera.description})"
    return LocalizedImage(fix, patch, datum, assumed if camera.is_assumed else camera.facts["camera_calibration"])


def _searched_rad(localizer: PatchLocalizer, heading_error_deg: float | None) -> float | None:
    error_rad = None if heading_error_deg is None else math.radians(heading_error_deg)
    if error_rad is not None and error_rad > localizer.max_heading_error_rad:
        raise InputError(
            f"the model '{localizer.manifest.name}' finds headings that are up to "
            f"{math.degrees(localizer.max_heading_error_rad):g}° wrong, not {heading_error_deg:g}°"
        )
    return error_rad


def _patch_at(manifest: Manifest, source: TileSource, datum: Datum, heading_deg: float) -> SatellitePatch:
    try:
        frame = manifest.patch_frame(0.0, 0.0, float(yaw_from_heading_deg(heading_deg)))
        with SatelliteMap(source, datum) as satellite_map:
            return satellite_map.patch(frame)
    finally:
        source.close()


def _check_place(lat_deg: float, lon_deg: float, heading_deg: float) -> None:
    for name, value, most in (("latitude", lat_deg, 90.0), ("longitude", lon_deg, 180.0)):
        if not abs(value) <= most:  # nor anything that is no number
            raise InputError(f"the {name} must be between {-most:.0f} and {most:.0f} degrees, got {value}")
    if not abs(heading_deg) <= _FULL_TURN_DEG:
        raise InputError(f"the heading must be degrees clockwise from north, -360 to 360, got {heading_deg}")
