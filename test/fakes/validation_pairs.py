"""Pairs of the validation split, as the shipped weights are tried on."""

from __future__ import annotations

from geoflow_ros.bundle import Manifest
from geoflow_ros.world.conditions import conditions_named
from geoflow_ros.world.pairs import Area, HeadingError, PairSampler
from geoflow_ros.world.splits import Split


def validation_sampler(manifest: Manifest, seed: int, conditions: str = "easy") -> PairSampler:
    """Pairs of new cities in the sizes of a model."""
    return PairSampler(
        area=Area.CROSS,
        seed=seed,
        satellite_size=manifest.satellite.size_px,
        ground_size=(manifest.ground.height_px, manifest.ground.width_px),
        ground_resolution_m=manifest.satellite.ground_resolution_m,
        search_radius_m=manifest.search_radius_m,
        heading_error=HeadingError(sigma_deg=2.0),
        split=Split.VALIDATION,
        conditions=conditions_named(conditions),
    )
