"""Your own drive: a folder of images, a CSV of where each was taken, and any tile source.

The CSV's first line names its columns: `stamp,file,lat,lon,heading` and, where they are known, `roll,pitch`. Stamps are
seconds, files are relative to the CSV's folder; lat and lon (degrees, WGS84) are **the camera's**, heading is its
forward's, degrees clockwise from north. Roll and pitch are the vehicle's in degrees, positive where the right side or
the nose is lower. Priors are drawn by a seed: uniform in the square of the radius, headings uniform within a bound.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import GeometryError, ImageError, InputError, TileError
from geoflow_ros.evaluation.datasets.labelled import LabelledPair, PairSkippedError
from geoflow_ros.geo import Datum, yaw_from_heading_deg
from geoflow_ros.geo.camera import Attitude, Intrinsics, Mounting
from geoflow_ros.images import read_image
from geoflow_ros.tiles import SatelliteMap, TileSource
from geoflow_ros.world.places import Poses
from geoflow_ros.world.priors import HeadingError, patches_around, sample_offsets

_COLUMNS = ("stamp", "file", "lat", "lon", "heading")
_UNREADABLE = "unreadable line of the CSV"


class OwnDriveReader:
    """Reads a drive.

    Args:
        path: of the CSV.
        source: of the satellite pixels; stays open.
        seed: of the priors.
        prior_radius_m: their largest error on both axes.
        heading_deg: the largest error of their headings.
        intrinsics: of the lens; taken for the model's where None.
        mounting: of the camera; level and as high as the model's where None.

    Raises:
        InputError: no such CSV, one without a column that is needed, or one without lines or a first place.
    """

    def __init__(
        self,
        path: Path,
        source: TileSource,
        seed: int = 0,
        prior_radius_m: float = 20.0,
        heading_deg: float = 6.0,
        intrinsics: Intrinsics | None = None,
        mounting: Mounting | None = None,
    ) -> None:
        try:
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                self._rows = list(reader)
                missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} cannot be read as CSV ({error}): give one with {','.join(_COLUMNS)}") from None
        if missing:
            raise InputError(
                f"{path} has no column {', '.join(missing)}: its first line must name {','.join(_COLUMNS)}"
            )
        if not self._rows:
            raise InputError(f"{path} holds no images: one line each of {','.join(_COLUMNS)}")
        self._path, self._seed, self._intrinsics, self._mounting = path, seed, intrinsics, mounting or Mounting()
        self.prior_radius_m, self.heading = prior_radius_m, HeadingError(uniform_deg=heading_deg)
        try:
            datum = Datum(float(self._rows[0]["lat"]), float(self._rows[0]["lon"]))
        except (TypeError, ValueError, GeometryError) as error:
            raise InputError(f"{path}: the first line has no place ({error})") from None
        self._map = SatelliteMap(source, datum)

    @property
    def title(self) -> str:
        """Which pairs."""
        return f"{self._path.name}, ±{self.prior_radius_m:g} m, ±{self.heading.uniform_deg:g}°"

    def __len__(self) -> int:
        """Lines of the CSV."""
        return len(self._rows)

    def pair(self, index: int, manifest: Manifest) -> LabelledPair:
        """Reads the pair of a line; see `PairReader`."""
        row = self._rows[index]
        name = row["file"] or ""
        try:
            lat, lon, heading = (float(row[column]) for column in ("lat", "lon", "heading"))
            roll, pitch = (math.radians(float(row.get(column) or 0.0)) for column in ("roll", "pitch"))
            if not all(map(math.isfinite, (lat, lon, heading, roll, pitch))):
                raise ValueError("a number is not finite")
            east_m, north_m = self._map.datum.to_enu(lat, lon)
        except (TypeError, ValueError, GeometryError) as error:
            raise PairSkippedError(_UNREADABLE, f"{self._path} line {index + 2} ({error})") from None
        rng = np.random.default_rng([self._seed, index])
        offset_m, error_rad = sample_offsets(rng, self.prior_radius_m, 1), self.heading.sample(rng, 1)
        yaw_rad = float(yaw_from_heading_deg(heading))
        camera = Poses(np.array([east_m]), np.array([north_m]), np.array([yaw_rad]))
        prior = patches_around(camera, offset_m, error_rad)
        frame = manifest.patch_frame(float(prior.east_m[0]), float(prior.north_m[0]), float(prior.yaw_rad[0]))
        try:
            ground = read_image(self._path.parent / name)
        except ImageError as error:
            raise PairSkippedError("missing or damaged picture", str(error)) from None
        try:
            patch = self._map.patch(frame)
        except (TileError, GeometryError) as error:
            raise PairSkippedError("no satellite patch", f"{name} ({error})") from None
        vehicle = Attitude(roll, pitch)
        return LabelledPair(
            name, ground, patch, offset_m[0], float(error_rad[0]), 0, self._intrinsics, self._mounting, vehicle
        )

    def close(self) -> None:
        """Lets the decoded tiles go."""
        self._map.close()
