"""A vehicle that is lost is looked for on many patches around where it was thought to be.

One picture that is held against many places is found somewhere by chance. So a place counts only where the evidence for
it outweighs that for all others together, and what it gives is a track that nobody vouches for until the fixes after it
agree over some distance of driving.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np

from geoflow_ros.errors import GeometryError, ImageError, TileError
from geoflow_ros.inference import Fix, PatchLocalizer
from geoflow_ros.localization.base_pose import base_pose
from geoflow_ros.localization.camera_pictures import ShownPicture
from geoflow_ros.localization.frame_checks import HEADING_SIGMAS
from geoflow_ros.localization.patch_manager import Prior
from geoflow_ros.localization.rejection import FrameRejected, RejectReason, frame_rejected_for
from geoflow_ros.localization.start import floored_covariance
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.tiles import SatelliteMap
from geoflow_ros.tracking import StartPose, TrackedPose

# Neighbouring patches overlap by this share of the search square: a camera at the edge of one is well inside another.
_OVERLAP = 0.25
# Fixes nearer to each other than this are of one place, found on patches that overlap.
_SAME_PLACE_M = 10.0


_NOT_FOUND = frozenset(
    {
        *(RejectReason.UNTRUSTED, RejectReason.UNINFORMATIVE, RejectReason.OUTLIER, RejectReason.UNCERTAIN),
    }
)
"""What becomes of images of a vehicle that is not where the track has it."""


class WideSearcher:
    """Looks for the camera in a square. `ask` may be called from any thread, the rest is for the frames' thread.

    Args:
        satellite_map: where patches are cut from.
    """

    def __init__(self, satellite_map: SatelliteMap) -> None:
        self._map = satellite_map
        self._radius_m = 0.0
        self._missed = 0

    @property
    def radius_m(self) -> float:
        """How far to each side the next picture is looked for; 0 where nobody asks for it."""
        return self._radius_m

    def ask(self, radius_m: float) -> None:
        """The next picture is looked for within so many metres to each side."""
        self._radius_m = radius_m

    def missed(self, rejected: FrameRejected, is_lost: bool, settings: VehicleSettings) -> None:
        """Counts the images of a lost track that are not found, and asks for a wide search after enough of them."""
        if not is_lost:
            self._missed = 0
        elif rejected.reason in _NOT_FOUND:
            self._missed += 1
        if 0 < settings.widen_after <= self._missed:
            self._missed = 0
            self.ask(settings.relocalize_radius_m)

    def look(
        self,
        localizer: PatchLocalizer,
        picture: ShownPicture,
        tracked: TrackedPose,
        prior: Prior,
        settings: VehicleSettings,
    ) -> tuple[StartPose | None, FrameRejected]:
        """Holds a picture against every patch of the square, over all headings that the track may have.

        Args:
            localizer: finds the camera on a patch.
            picture: as the model is shown it.
            tracked: base_link at the picture's stamp.
            prior: the camera then: the square's middle, and the heading.
            settings: of the vehicle, with this camera's mounting.

        Returns:
            Where base_link was found, None where the evidence is not enough; and what is said of the frame.

        Raises:
            FrameRejected: the image does not fit the model, or the back end failed.
        """
        radius_m, self._radius_m = self._radius_m, 0.0
        begin_s = time.monotonic()
        with frame_rejected_for(RejectReason.BACKEND, Exception), frame_rejected_for(RejectReason.IMAGE, ImageError):
            fixes = self._fixes(localizer, picture, tracked, prior, radius_m)
        found, reason = most_evident(fixes)
        what = f"a search of ±{radius_m:g} m ({len(fixes)} patches, {time.monotonic() - begin_s:.1f} s)"
        if found is None:
            return None, FrameRejected(RejectReason.UNTRUSTED, f"{what} found no place: {reason}", tracked)
        position, yaw_rad, covariance, _ = base_pose(found, tracked, settings)
        floored = floored_covariance(covariance, settings.min_start_position_std_m, settings.min_start_yaw_std_rad)
        start = StartPose(tracked.stamp_ns, float(position[0]), float(position[1]), yaw_rad, floored)
        said = f"{what} found a place, which fixes that agree have to prove (gate.relocalize_*)"
        return start, FrameRejected(RejectReason.UNPROVEN, said, tracked)

    def _fixes(
        self, localizer: PatchLocalizer, picture: ShownPicture, tracked: TrackedPose, prior: Prior, radius_m: float
    ) -> list[Fix]:
        """One fix for every patch that there is; a vehicle cannot be found beyond the map."""
        manifest, stamp_ns = localizer.manifest, tracked.stamp_ns
        error_rad = min(HEADING_SIGMAS * tracked.yaw_std_rad, localizer.max_heading_error_rad)
        fixes = []
        for east_m, north_m in _centres(prior, radius_m, manifest.search_radius_m):
            try:
                patch = self._map.patch(manifest.patch_frame(east_m, north_m, prior.yaw_rad))
                fix = localizer.localize(picture.rgb, patch, stamp_ns, error_rad, None, picture.covered)
            except (TileError, GeometryError):  # beyond the map, or at its edge, where too little of it is shown
                continue
            fixes.append(fix)
        return fixes


def most_evident(fixes: Sequence[Fix]) -> tuple[Fix | None, str]:
    """Returns the fix of the place that outweighs all others together; else None, and why.

    The evidence for a place is the odds of its best fix (`Assessment.probability`). Fixes of methods or bundles without
    a probability cannot be weighed: then there must be one place only.

    Args:
        fixes: of one picture on patches that may overlap.
    """
    trusted = sorted((f for f in fixes if f.assessment.trustworthy), key=lambda f: -f.assessment.quality)
    if not trusted:
        return None, "no patch shows what the picture does"
    best, places = trusted[0], [trusted[0]]
    for fix in trusted[1:]:  # the best of each place, since the better come first
        if all(float(np.hypot(*(fix.position - place.position))) > _SAME_PLACE_M for place in places):
            places.append(fix)
    rivals = places[1:]
    if not rivals:
        return best, ""
    odds = [_odds(fix.assessment.probability) for fix in places]
    if math.isfinite(sum(odds[1:])) and odds[0] > sum(odds[1:]):
        return best, ""
    return None, f"{len(places)} places look alike"


def _odds(probability: float | None) -> float:
    """Odds of a probability; infinite where none is known, which outweighs nothing and cannot be outweighed."""
    return math.inf if probability is None or probability >= 1.0 else probability / (1.0 - probability)


def _centres(prior: Prior, radius_m: float, search_radius_m: float) -> list[tuple[float, float]]:
    """East and north of the patches that cover the square, the nearest first."""
    spacing_m = 2.0 * search_radius_m * (1.0 - _OVERLAP)
    number = max(math.ceil((radius_m - search_radius_m) / spacing_m), 0)
    steps = [spacing_m * step for step in range(-number, number + 1)]
    offsets = sorted(itertools.product(steps, steps), key=lambda at: math.hypot(*at))
    cosine, sine = math.cos(prior.yaw_rad), math.sin(prior.yaw_rad)  # patches look ahead: so does the square
    return [
        (prior.east_m + cosine * forward - sine * left, prior.north_m + sine * forward + cosine * left)
        for forward, left in offsets
    ]
