"""What a localizer answers to pairs whose truth is known, and the figures of all its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.evaluation.metrics import (
    figures,
    intervals,
    pose_consistency,
    published_figures,
    quality_figures,
    timing,
    yaw_figures,
)
from geoflow_ros.geo.angles import wrap_to_pi
from geoflow_ros.inference import Fix
from geoflow_ros.world.scenes import Scene


class Labelled(Protocol):
    """A pair whose truth is known: a synthetic one (`world.pairs.Pair`) or one of a data set."""

    @property
    def offset_m(self) -> Float64Array:
        """(2,) the camera's true (forward, right) from the patch's centre in the patch's frame, metres."""
        ...

    @property
    def heading_error_rad(self) -> float:
        """The patch's yaw less the camera's."""
        ...

    @property
    def scenes(self) -> frozenset[Scene]:
        """What it is of."""
        ...


@dataclass
class Answers:
    """The answers to one pair after the other; lengths in metres, (forward, right) of the patch.

    Attributes:
        offsets_m: the true positions from the patch centres, each (2,).
        errors_m: answers less truth, each (2,).
        covariances: of them, each (2, 2).
        yaw_errors_rad: answer less truth; of a method that gives no yaw, none.
        pose_errors: answer less truth, each (3,) of (east, north) in metres and yaw in radians; likewise.
        pose_covariances: of them, each (3, 3).
        qualities: larger for an answer that is more likely near the truth.
        worlds: the number of the world that each pair is of.
        scenes: that each pair is of.
        trusted: whether the localizer trusts its answer.
        latencies_ms: of each answer.
    """

    offsets_m: list[Float64Array] = field(default_factory=list)
    errors_m: list[Float64Array] = field(default_factory=list)
    covariances: list[Float64Array] = field(default_factory=list)
    yaw_errors_rad: list[float] = field(default_factory=list)
    pose_errors: list[Float64Array] = field(default_factory=list)
    pose_covariances: list[Float64Array] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    worlds: list[int] = field(default_factory=list)
    scenes: list[frozenset[Scene]] = field(default_factory=list)
    trusted: list[bool] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    def add(self, pair: Labelled, fix: Fix, world: int) -> None:
        """Adds the answer to a pair of a world."""
        self.offsets_m.append(pair.offset_m)
        self.errors_m.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
        self.covariances.append(fix.frame.rotate_covariance_to_local(fix.covariance))
        if fix.yaw_rad is not None:
            self.yaw_errors_rad.append(wrap_to_pi(fix.yaw_rad - true_yaw_rad(pair, fix)))
        if fix.pose_covariance is not None:
            error_m = fix.position - fix.frame.local_to_enu(pair.offset_m)
            self.pose_errors.append(np.append(error_m, self.yaw_errors_rad[-1]))
            self.pose_covariances.append(fix.pose_covariance)
        self.qualities.append(fix.assessment.quality)
        self.worlds.append(world)
        self.scenes.append(pair.scenes)
        self.trusted.append(fix.assessment.trustworthy)
        self.latencies_ms.append(fix.timings.total_ms)

    def figures(self) -> dict[str, Any]:
        """Computes the fixed figures of all answers, times included."""
        # By the localizer's own assessment: a node publishes nothing from a fix that it does not trust.
        availability = float(np.mean(self.trusted))
        result: dict[str, Any] = dict(figures(self.errors_m, self.covariances, availability=availability))
        if self.yaw_errors_rad:
            result |= yaw_figures(self.yaw_errors_rad)
        if self.pose_errors:
            result |= pose_consistency(self.pose_errors, self.pose_covariances)
        result |= quality_figures(self.errors_m, self.qualities)
        result |= published_figures(self.errors_m, self.covariances, self.trusted)
        result |= intervals(self.errors_m, self.worlds)
        # The first frame pays for what is set up once.
        return result | timing(self.latencies_ms[1:] or self.latencies_ms)

    def figures_of_scenes(self) -> dict[str, dict[str, Any]]:
        """Computes the figures of every kind of scene that a pair is of, by its name; times and intervals left out."""
        errors_m, covariances, trusted = (np.array(v) for v in (self.errors_m, self.covariances, self.trusted))
        result: dict[str, dict[str, Any]] = {}
        for scene in Scene:
            kept = np.array([scene in scenes for scenes in self.scenes])
            if kept.any():
                of_it = errors_m[kept], covariances[kept]
                result[scene.value] = {
                    **figures(*of_it, availability=float(trusted[kept].mean())),
                    **published_figures(*of_it, trusted[kept]),
                }
        return result


def true_yaw_rad(pair: Labelled, fix: Fix) -> float:
    """Returns the yaw of a pair's camera in the map that the fix is in, radians."""
    return fix.frame.yaw_rad - pair.heading_error_rad
