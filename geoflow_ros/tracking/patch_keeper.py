"""Which satellite patch a frame is shown: the last one while it will do, else a new one around the prior."""

from __future__ import annotations

import math

from geoflow_ros.inference.fix import Prior
from geoflow_ros.inference.manifest import Manifest
from geoflow_ros.tiles import SatelliteMap, SatellitePatch


class PatchKeeper:
    """Cuts patches for a model, and keeps the last one: the localizer keeps a patch's features as long as the patch.

    Args:
        satellite_map: where patches are cut from.
        manifest: of the model: size, scale and alignment of its patches.
        recentre_distance_m: how far the prior may be from the centre of a kept patch.
        recentre_angle_rad: how far its heading may be from that of a kept patch.
    """

    def __init__(
        self, satellite_map: SatelliteMap, manifest: Manifest, recentre_distance_m: float, recentre_angle_rad: float
    ) -> None:
        self.recentre_distance_m = recentre_distance_m
        self.recentre_angle_rad = recentre_angle_rad
        self._map = satellite_map
        self._manifest = manifest
        self._kept: SatellitePatch | None = None

    def patch_for(self, prior: Prior) -> SatellitePatch:
        """The patch to localize on.

        Raises:
            TileError, GeometryError: the patch cannot be cut (see `SatelliteMap.patch`); the kept one is kept.
        """
        wanted = self._manifest.patch_frame(prior.east_m, prior.north_m, prior.yaw_rad)
        if self._kept is not None:
            frame = self._kept.frame
            distance_m = math.hypot(
                wanted.centre_east_m - frame.centre_east_m, wanted.centre_north_m - frame.centre_north_m
            )
            turn_rad = abs(math.remainder(wanted.yaw_rad - frame.yaw_rad, math.tau))
            if distance_m <= self.recentre_distance_m and turn_rad <= self.recentre_angle_rad:
                return self._kept
        self._kept = self._map.patch(wanted)
        return self._kept
