"""Which synthetic pairs a bundle is measured on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.bundle import Bundle
from geoflow_ros.evaluation import synthetic
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
