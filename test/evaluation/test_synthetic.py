"""The evaluation of a bundle on synthetic pairs."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.bundle import Bundle
from geoflow_ros.evaluation import synthetic
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world import Area, HeadingError, Split
from geoflow_ros.world.conditions import HARD, ROAD


@pytest.fixture(scope="module")
def measured(converging_bundle: Path) -> synthetic.SyntheticReport:
    protocol = synthetic.Protocol(Area.CROSS, pairs=6, seed=11)
    return synthetic.evaluate(converging_bundle, protocol, iterations=3, ablation=True, baseline=True)


def test_the_evaluation_reports_the_fixed_keys(measured: synthetic.SyntheticReport) -> None:
    content = json.loads(json.dumps(measured.as_json(), allow_nan=False))
    for key in (
        "mean_error_m", "median_error_m", "lateral_mean_error_m", "longitudinal_mean_error_m", "recall_1m", "recall_5m",
        "lateral_recall_1m", "lateral_recall_5m", "longitudinal_recall_1m", "longitudinal_recall_5m", "anees",
        "coverage_50", "coverage_90", "coverage_95", "nll", "latency_ms", "frames_per_second", "availability",
    ):  # fmt: skip
        assert key in content, key
    assert set(content["latency_ms"]) == {"p50", "p95", "p99"}
    assert content["pairs"] == content["frames"] == 6
    assert content["iterations"] == 3
    assert set(content["baselines"]) == {"bird's-eye template matching", "centre of the patch"}


def test_the_ablation_has_the_papers_settings_and_the_text_its_tables(measured: synthetic.SyntheticReport) -> None:
    settings = {(row.settings.hypotheses, row.settings.iterations) for row in measured.ablation}
    assert {(10, 1), (10, 3), (10, 5), (10, 10), (1, 5), (20, 5), (1, 1)} <= settings
    text = measured.text()
    for title in ("iterations, N = 10", "hypotheses, R = 5", "step,", "centre of the patch", "ANEES"):
        assert title in text


def test_the_ablation_of_the_default_setting_is_the_measurement_itself(measured: synthetic.SyntheticReport) -> None:
    row = next(row for row in measured.ablation if row.settings == measured.settings)
    assert row.figures["mean_error_m"] == pytest.approx(measured.figures["mean_error_m"], abs=1e-3)


def test_the_centre_of_the_patch_is_as_wrong_as_the_prior(
    measured: synthetic.SyntheticReport, converging_bundle: Path
) -> None:
    bundle = Bundle.load(converging_bundle)
    sampler = synthetic.sampler_for(bundle.manifest, measured.protocol)
    distances = [math.hypot(*sampler.pair(k).offset_m) for k in range(6)]
    assert measured.baselines["centre of the patch"]["mean_error_m"] == pytest.approx(np.mean(distances))


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


def test_the_report_names_its_conditions(measured: synthetic.SyntheticReport, converging_bundle: Path) -> None:
    assert "conditions easy" in measured.text()
    assert measured.as_json()["conditions"] == measured.summary()["conditions"] == "easy"
    hard = synthetic.evaluate(converging_bundle, synthetic.Protocol(Area.CROSS, 2, 11, conditions=HARD))
    assert "conditions hard" in hard.text()
    assert hard.as_json()["conditions"] == "hard"


def test_recorded_figures_of_other_conditions_do_not_replace_the_easy_ones() -> None:
    protocol = synthetic.Protocol(Area.CROSS, 1, 1)
    assert protocol.key == "synthetic-cross"
    assert replace(protocol, conditions=ROAD).key == "synthetic-cross-road"
