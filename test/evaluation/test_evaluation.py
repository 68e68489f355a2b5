"""Bags, the baseline without learning, and the evaluation of a bundle on synthetic pairs."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.bags import SECOND_NS, START_NS, write_bag

from geoflow_ros.bundle import Bundle, Calibration
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.evaluation import bag as bags
from geoflow_ros.evaluation import synthetic
from geoflow_ros.evaluation.annotate import store_calibration, store_figures
from geoflow_ros.evaluation.bag import Topics, drive_figures, read_drive
from geoflow_ros.evaluation.baseline import BirdsEyeMatcher
from geoflow_ros.evaluation.metrics import figures
from geoflow_ros.evaluation.rendering import BLOCK, render_pairs
from geoflow_ros.evaluation.tables import drive_table
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.tracking.trajectory import Trajectory
from geoflow_ros.world import Area, Camera, HeadingError, PairSampler, Split

# --- bags ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "drive")


def test_a_recorded_drive_gives_the_figures_computed_by_hand(bag):
    f = drive_figures(read_drive(bag))
    assert f["dead_reckoning"]["final_error_m"] == pytest.approx(3.0, abs=1e-6)
    assert f["dead_reckoning"]["median_error_m"] == pytest.approx(1.5, abs=0.02)
    assert f["fixes"]["rmse_m"] == pytest.approx(1.0)
    assert f["fixes"]["longitudinal_mean_error_m"] == pytest.approx(1.0)
    assert f["fixes"]["lateral_mean_error_m"] == pytest.approx(0.0, abs=1e-9)
    assert f["fixes"]["anees"] == pytest.approx(0.5)
    assert f["track"]["rmse_m"] == pytest.approx(0.5)
    assert f["fixes_per_second"] == pytest.approx(5.1)
    assert f["latency_ms"]["p95"] == pytest.approx(80.0)
    assert f["availability"] == 1.0
    assert f["distance_m"] == pytest.approx(100.0)


def test_a_single_mcap_file_is_read_as_its_folder_is(bag):
    assert len(read_drive(next(bag.glob("*.mcap"))).truth) == 101


def test_a_bag_without_fixes_says_so_instead_of_giving_figures(tmp_path):
    record = read_drive(write_bag(tmp_path / "silent", with_fixes=False))
    with pytest.raises(InputError, match="published no pose"):
        drive_figures(record)


def test_availability_counts_frames_whose_last_fix_is_fresh():
    frames = START_NS + np.arange(10) * SECOND_NS
    assert bags.availability(frames, fixes_at(frames)) == 1.0
    assert bags.availability(frames, fixes_at(frames[5:])) == 0.5
    assert bags.availability(frames, fixes_at(frames[:1])) == 0.2  # a fix is fresh for one second
    assert bags.availability(frames, fixes_at(frames[:0])) == 0.0
    assert bags.availability(frames[:0], fixes_at(frames)) == 0.0


def test_a_fix_that_came_late_counts_for_no_frame():
    frames = START_NS + np.arange(10) * SECOND_NS
    latencies_ns = np.where(np.arange(10) < 5, SECOND_NS // 20, 3 * SECOND_NS)
    assert bags.availability(frames, fixes_at(frames, latencies_ns)) == 0.6  # the sixth frame has the fifth's
    assert bags.availability(frames, fixes_at(frames, 3 * SECOND_NS)) == 0.0


def test_where_the_clocks_differ_all_but_the_latency_is_measured(bag):
    record = read_drive(bag)
    received_ns = record.fixes.received_ns.copy()
    received_ns[3] = record.fixes.stamps_ns[3] - 5_000_000
    expected = drive_figures(record)
    assert "p95 80" in drive_table(expected)
    f = drive_figures(replace(record, fixes=replace(record.fixes, received_ns=received_ns)))
    assert f == expected | {"latency_ms": None}
    assert "camera's and the recorder's clocks differ" in drive_table(f)


def fixes_at(stamps_ns, latencies_ns=0) -> Trajectory:
    n = len(stamps_ns)
    return Trajectory(stamps_ns, stamps_ns + latencies_ns, np.zeros((n, 2)), np.zeros(n), np.zeros((n, 2, 2)))


@pytest.mark.parametrize("share_kept", [0.0, 0.1, 0.5, 0.9, 0.995])
def test_a_truncated_bag_is_refused_with_one_clear_line(bag, tmp_path, share_kept):
    broken = tmp_path / "broken"
    shutil.copytree(bag, broken)
    data = next(broken.glob("*.mcap"))
    data.write_bytes(data.read_bytes()[: int(data.stat().st_size * share_kept)])
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        read_drive(broken)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_bag_is_refused(tmp_path):
    with pytest.raises(InputError, match="no bag at"):
        read_drive(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="not a bag"):
        read_drive(tmp_path / "folder")
    (tmp_path / "text.mcap").write_text("this is not MCAP")
    with pytest.raises(InputError, match="truncated or damaged"):
        read_drive(tmp_path / "text.mcap")


def test_a_bag_of_other_topics_names_the_one_that_is_missing(bag):
    with pytest.raises(InputError, match="/no/truth"):
        read_drive(bag, Topics(truth="/no/truth"))


# --- without learning ------------------------------------------------------------------------------------------------


def test_template_matching_finds_the_camera_on_a_flat_textured_ground():
    """The camera image of a textured plane, made by the camera's own projection, is found again on the plane."""
    resolution_m, size_px, camera = 0.25, 400, Camera.perspective(512, 128, 90.0, 1.65)
    rng = np.random.default_rng(5)
    coarse = rng.uniform(0, 255, (100, 100, 3)).astype(np.float32)
    plane = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    centre, truth_m = (size_px - 1) / 2, np.array([7.0, -4.5])
    azimuth, slope = camera.azimuth_rad[None, :], camera.slope
    distance = np.where(slope < -1e-3, camera.height_m / np.maximum(-slope, 1e-3), 1e4)
    columns = centre + (truth_m[0] + distance * np.cos(azimuth)) / resolution_m
    rows = centre + (truth_m[1] + distance * np.sin(azimuth)) / resolution_m
    view = cv2.remap(plane, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    found = BirdsEyeMatcher(camera, resolution_m, 20.0).locate(np.asarray(view, np.uint8), plane)
    assert np.abs(found - truth_m).max() <= 2 * resolution_m


def test_template_matching_stays_inside_the_search_square():
    rng = np.random.default_rng(6)
    matcher = BirdsEyeMatcher(Camera.perspective(256, 64), 0.5, 10.0)
    for _ in range(3):
        ground = rng.integers(0, 255, (64, 256, 3), dtype=np.uint8)
        satellite = rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)
        assert np.abs(matcher.locate(ground, satellite)).max() <= 10.0


def test_template_matching_beats_the_centre_of_the_patch_on_synthetic_pairs():
    sampler = PairSampler(Area.CROSS, 3, 256, (128, 512), 0.3916, 20.0, HeadingError(0.5))
    matcher = BirdsEyeMatcher(sampler.camera, 0.3916, 20.0)
    pairs = [sampler.pair(k) for k in range(12)]
    matched = figures([matcher.locate(p.ground, p.satellite) - p.offset_m for p in pairs])
    assert matched["mean_error_m"] < figures([-p.offset_m for p in pairs])["mean_error_m"]


# --- a bundle on synthetic pairs -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(converging_bundle: Path):
    protocol = synthetic.Protocol(Area.CROSS, pairs=6, seed=11)
    return synthetic.evaluate(converging_bundle, protocol, iterations=3, ablation=True, baseline=True)


def test_the_evaluation_reports_the_fixed_keys(measured):
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


def test_the_ablation_has_the_papers_settings_and_the_text_its_tables(measured):
    settings = {(row.settings.hypotheses, row.settings.iterations) for row in measured.ablation}
    assert {(10, 1), (10, 3), (10, 5), (10, 10), (1, 5), (20, 5), (1, 1)} <= settings
    text = measured.text()
    for title in ("iterations, N = 10", "hypotheses, R = 5", "step,", "centre of the patch", "ANEES"):
        assert title in text


def test_the_ablation_of_the_default_setting_is_the_measurement_itself(measured):
    row = next(row for row in measured.ablation if row.settings == measured.settings)
    assert row.figures["mean_error_m"] == pytest.approx(measured.figures["mean_error_m"], abs=1e-3)


def test_the_centre_of_the_patch_is_as_wrong_as_the_prior(measured, converging_bundle):
    bundle = Bundle.load(converging_bundle)
    sampler = synthetic.sampler_for(bundle.manifest, measured.protocol)
    distances = [math.hypot(*sampler.pair(k).offset_m) for k in range(6)]
    assert measured.baselines["centre of the patch"]["mean_error_m"] == pytest.approx(np.mean(distances))


def test_a_pair_is_measured_in_the_frame_that_it_was_made_in(converging_bundle):
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


def test_pairs_from_several_processes_are_the_same_and_in_order():
    def sampler() -> PairSampler:
        return PairSampler(Area.CROSS, 13, 64, (32, 128), 1.5664, 20.0, HeadingError())

    pairs = list(render_pairs(sampler(), BLOCK + 2))
    assert len(pairs) == BLOCK + 2
    for k in (0, BLOCK + 1):
        alone = sampler().pair(k)
        assert np.array_equal(pairs[k].ground, alone.ground)
        assert np.array_equal(pairs[k].satellite, alone.satellite)


def test_calibration_and_figures_are_written_into_the_manifest(converging_bundle, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(converging_bundle, copy)
    store_calibration(copy, Calibration(2.0, 1.5, 0.3, 0.2, 100, "a test"))
    store_figures(copy, "synthetic-cross", {"mean_error_m": 1.0})
    manifest = Bundle.load(copy).manifest  # the graphs still match it
    assert manifest.calibration.forward_scale == 2.0
    assert manifest.figures["synthetic-cross"]["mean_error_m"] == 1.0
    with pytest.raises(BundleError):
        store_figures(tmp_path / "nothing", "x", {})


def test_calibration_pairs_are_not_those_of_the_test(converging_bundle):
    bundle = Bundle.load(converging_bundle)
    test = synthetic.Protocol(Area.CROSS, 1, 15)
    held_out = synthetic.Protocol(Area.CROSS, 1, 15, split=Split.CALIBRATION)
    one, other = (synthetic.sampler_for(bundle.manifest, protocol).pair(0) for protocol in (test, held_out))
    assert not np.array_equal(one.ground, other.ground)


def test_the_heading_error_of_the_command_line_is_two_degrees_unless_told():
    assert synthetic.heading_error(None, None) == HeadingError(2.0, None)
    assert synthetic.heading_error(5.0, None) == HeadingError(5.0, None)
    assert synthetic.heading_error(None, 10.0).uniform_deg == 10.0
    assert "10" in synthetic.describe(synthetic.heading_error(None, 10.0))
