"""Which synthetic pairs a bundle is measured on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle import Bundle
from geoflow_ros.evaluation import synthetic
from geoflow_ros.inference import GeoFlowFix, GeoFlowLocalizer
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world import Area, HeadingError, Split
from geoflow_ros.world.conditions import ROAD


def test_a_pair_is_measured_in_the_frame_that_it_was_made_in(converging_bundle: Path) -> None:
    """Were the axes exchanged or mirrored, the figures would tell it only on average; this tells it for one pair."""
    bundle = Bundle.load(converging_bundle)
    protocol = synthetic.Protocol(Area.CROSS, pairs=1, seed=12)
    pair = synthetic.sampler_for(bundle.manifest, protocol).pair(0)
    patch = synthetic.as_patch(pair, bundle.manifest)
    assert isinstance(patch, SatellitePatch)
    enu = patch.frame.local_to_enu(pair.offset_m)
    assert enu == pytest.approx([pair.offset_m[0], -pair.offset_m[1]])
    pixel = patch.frame.to_pixel(enu)
    centre, scale = (patch.frame.size_px - 1) / 2, patch.frame.ground_resolution_m
    assert pixel == pytest.approx(centre + pair.offset_m / scale)


def test_calibration_pairs_are_not_those_of_the_test(converging_bundle: Path) -> None:
    bundle = Bundle.load(converging_bundle)
    test = synthetic.Protocol(Area.CROSS, 1, 15)
    held_out = synthetic.Protocol(Area.CROSS, 1, 15, split=Split.CALIBRATION)
    one, other = (synthetic.sampler_for(bundle.manifest, protocol).pair(0) for protocol in (test, held_out))
    assert not np.array_equal(one.ground, other.ground)


def test_the_heading_error_of_the_command_line_is_two_degrees_unless_told() -> None:
    assert synthetic.heading_error(None, None) == HeadingError(2.0, None)
    assert synthetic.heading_error(5.0, None) == HeadingError(5.0, None)
    assert synthetic.heading_error(None, 10.0).uniform_deg == 10.0
    assert "10" in synthetic.describe(synthetic.heading_error(None, 10.0))


def test_recorded_figures_of_other_conditions_do_not_replace_the_easy_ones() -> None:
    protocol = synthetic.Protocol(Area.CROSS, 1, 1)
    assert protocol.key == "synthetic-cross"
    assert replace(protocol, conditions=ROAD).key == "synthetic-cross-road"


@pytest.mark.parametrize(
    ("heading", "stated_deg"),
    [(HeadingError(2.0), 6.0), (HeadingError(uniform_deg=45.0), 45.0), (HeadingError(0.5), 1.5)],
)
def test_localizers_are_told_how_wrong_heading_and_position_may_be(
    converging_bundle: Path, heading: HeadingError, stated_deg: float
) -> None:
    bundle = Bundle.load(converging_bundle)
    protocol = synthetic.Protocol(Area.CROSS, 1, 3, heading=heading, prior_radius_m=8.0)
    pair = synthetic.sampler_for(bundle.manifest, protocol).pair(0)
    localizer = _Asked(bundle)
    synthetic.answer_to(localizer, pair, 7, protocol)
    told = localizer.told
    assert told is not None
    assert (told[0], told[2]) == (7, 8.0)
    assert np.degrees(told[1]) == pytest.approx(stated_deg)


class _Asked(GeoFlowLocalizer):
    """A localizer that remembers what it was told."""

    told: tuple[Any, ...] | None = None

    def localize(self, ground: UInt8Array, patch: SatellitePatch, *told: Any, **named: Any) -> GeoFlowFix:
        self.told = told
        return super().localize(ground, patch, *told, **named)
