"""Bags, pictures, child processes, the baseline without learning, and the evaluation of a bundle on synthetic pairs."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

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
from geoflow_ros.inference import Localizer
from geoflow_ros.simulation.demo import image_at, write_drive_map
from geoflow_ros.simulation.processes import ChildError, Children
from geoflow_ros.tiles import SatellitePatch, open_tile_source
from geoflow_ros.tracking.trajectory import DriveRecord, Trajectory
from geoflow_ros.visualization import report
from geoflow_ros.world import Area, Camera, Drive, HeadingError, PairSampler, Split, World

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
LATENCY_NS = 80_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)


# --- bags ------------------------------------------------------------------------------------------------------------


def message(kind: str, **fields):
    return STORE.types[kind](**fields)


def header(stamp_ns: int):
    stamp = message("builtin_interfaces/msg/Time", sec=stamp_ns // SECOND_NS, nanosec=stamp_ns % SECOND_NS)
    return message("std_msgs/msg/Header", stamp=stamp, frame_id="map")


def pose_with_covariance(x: float, y: float, yaw: float, variance: float):
    covariance = np.zeros((6, 6))
    covariance[0, 0] = covariance[1, 1] = covariance[5, 5] = variance
    quaternion = message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))
    pose = message(
        "geometry_msgs/msg/Pose",
        position=message("geometry_msgs/msg/Point", x=x, y=y, z=0.0),
        orientation=quaternion,
    )
    return message("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance.ravel())


def odometry(stamp_ns: int, x: float, y: float, yaw: float, variance: float = 0.01):
    zero = message("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    twist = message(
        "geometry_msgs/msg/TwistWithCovariance",
        twist=message("geometry_msgs/msg/Twist", linear=zero, angular=zero),
        covariance=np.zeros(36),
    )
    return message(
        "nav_msgs/msg/Odometry",
        header=header(stamp_ns),
        child_frame_id="base_link",
        pose=pose_with_covariance(x, y, yaw, variance),
        twist=twist,
    )


def jpeg(grey: int):
    done, data = cv2.imencode(".jpg", np.full((16, 32, 3), grey, np.uint8))
    assert done
    return data.ravel()


def write_bag(path: Path, with_fixes: bool = True) -> Path:
    """Ten seconds straight north at 10 m/s; odometry that starts at its own zero, looks east and runs 3 % too long.

    Fixes are 1 m ahead of the truth, the track 0.5 m to its right.
    """
    topics = Topics()
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {
            topics.truth: "nav_msgs/msg/Odometry",
            topics.odometry: "nav_msgs/msg/Odometry",
            topics.track: "nav_msgs/msg/Odometry",
            topics.fixes: "geometry_msgs/msg/PoseWithCovarianceStamped",
            topics.image: "sensor_msgs/msg/CompressedImage",
        }
        connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}

        def put(topic: str, received_ns: int, content) -> None:
            writer.write(connections[topic], received_ns, STORE.serialize_cdr(content, kinds[topic]))

        for k in range(101):
            t, stamp = 0.1 * k, START_NS + k * SECOND_NS // 10
            put(topics.truth, stamp, odometry(stamp, 100.0, 200.0 + 10.0 * t, math.pi / 2))
            put(topics.odometry, stamp, odometry(stamp, 10.3 * t, 0.0, 0.0))
            if k % 2 == 0:
                image = message("sensor_msgs/msg/CompressedImage", header=header(stamp), format="jpeg", data=jpeg(k))
                put(topics.image, stamp, image)
            if k % 2 == 0 and with_fixes:
                fix = message(
                    "geometry_msgs/msg/PoseWithCovarianceStamped",
                    header=header(stamp),
                    pose=pose_with_covariance(100.0, 201.0 + 10.0 * t, math.pi / 2, 1.0),
                )
                put(topics.fixes, stamp + LATENCY_NS, fix)
                put(topics.track, stamp + LATENCY_NS, odometry(stamp, 100.5, 200.0 + 10.0 * t, math.pi / 2))
    return path


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


def test_a_recorded_image_is_found_by_its_stamp_and_is_rgb(bag):
    image = image_at(bag, Topics().image, START_NS + 4 * SECOND_NS)
    assert image.shape == (16, 32, 3)
    assert abs(int(image.mean()) - 40) <= 1
    with pytest.raises(InputError, match="no image"):
        image_at(bag, Topics().image, START_NS + 1)


def test_the_map_of_a_drive_reaches_beyond_it_as_far_as_the_town_does(tmp_path):
    world = World.of(Area.SAME, 1)
    drive = Drive(world, 1, 2.0)
    source = open_tile_source(write_drive_map(drive, tmp_path / "map.mbtiles"))
    bounds, half = source.bounds, world.layout.half_m
    source.close()
    for sign in (-1, 1):
        for east, north in zip(drive.states.east_m, drive.states.north_m, strict=True):
            corner = np.clip([east + sign * 119.0, north + sign * 119.0], -half, half)
            assert bounds.contains(*world.datum.to_latlon(*corner))
    assert not bounds.contains(*world.datum.to_latlon(-half, -half))  # not the whole town


# --- pictures --------------------------------------------------------------------------------------------------------


def turning_drive() -> DriveRecord:
    """A quarter circle with a radius of 50 m; fixes that are less certain forward than sideways."""
    angle = np.linspace(0.0, math.pi / 2, 200)
    stamps = START_NS + np.arange(200) * SECOND_NS // 20
    positions = 50.0 * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1)
    c, s = np.cos(angle), np.sin(angle)
    axes = np.stack([np.stack([c, s], -1), np.stack([s, -c], -1)], axis=2)
    covariances = axes @ np.diag([4.0, 0.25]) @ axes.transpose(0, 2, 1)
    truth = Trajectory(stamps, stamps, positions, angle, np.zeros((200, 2, 2)))
    drifting = Trajectory(stamps, stamps, positions * 1.1, angle * 1.02, covariances)
    fixes = Trajectory(stamps[::4], stamps[::4], positions[::4] + 0.4, angle[::4], covariances[::4])
    return DriveRecord(truth, drifting, fixes, fixes, stamps[::4])


def picture_of(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_the_pictures_of_a_drive_are_drawn(tmp_path):
    record = turning_drive()
    background = report.MapPicture(np.full((90, 90, 3), 90, np.uint8), (-20.0, -20.0, 70.0, 70.0))
    report.trajectory_picture(record, background, tmp_path / "new" / "trajectory.png", "a quarter circle")
    report.error_picture(record, tmp_path / "error.png")
    assert picture_of(tmp_path / "new" / "trajectory.png").shape[1] > 800
    assert picture_of(tmp_path / "error.png").shape[0] > 600


def test_a_picture_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        report.error_picture(turning_drive(), tmp_path / "file" / "error.png")


def test_learning_curves_are_read_from_the_training_log(tmp_path):
    lines = []
    for k in range(5):
        training = {"step": 10 * k, "group": "training", "loss": 3.0 - 0.1 * k, "train_error_m": 9.0, "pairs": 320 * k}
        lines += [training, {"step": 10 * k, "group": "validation", "mean_error_m": 15.0 - k}]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"step": 100, "lo')  # killed while it wrote
    entries = report.read_metrics(tmp_path)
    assert len(entries) == 10
    assert report.validation_keys(entries) == ["mean_error_m"]
    report.learning_curves({"run": tmp_path}, tmp_path / "curves.png")
    assert picture_of(tmp_path / "curves.png").shape[1] > 800


def test_a_damaged_training_log_is_refused_with_its_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 2"):
        report.read_metrics(tmp_path)
    with pytest.raises(InputError, match="no learning curve"):
        report.read_metrics(tmp_path / "none")


# --- processes -------------------------------------------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_dies_is_reported_with_the_end_of_its_log(tmp_path):
    with Children(tmp_path, {}) as children:
        children.start("doomed", python("print('the reason'); raise SystemExit(3)"))
        with pytest.raises(ChildError, match="(?s)doomed ended with exit code 3.*the reason"):
            for _ in range(500):
                children.check()
                time.sleep(0.02)


def test_a_child_that_may_end_may_end_only_well(tmp_path):
    with Children(tmp_path, {}) as children:
        good = children.start("good", python("pass"))
        good.process.wait()
        children.check(good)
        bad = children.start("bad", python("raise SystemExit(1)"))
        bad.process.wait()
        with pytest.raises(ChildError, match="bad ended"):
            children.check(good, bad)


def test_waiting_for_a_child_ends_with_its_word_or_its_death(tmp_path):
    with Children(tmp_path, {"GREETING": "ready now"}) as children:
        speaker = children.start("speaker", python("import os, time; print(os.environ['GREETING']); time.sleep(60)"))
        children.wait_for(speaker, "ready now", 30.0)
        with pytest.raises(ChildError, match="not ready"):
            children.wait_for(speaker, "something else", 0.2)


def test_no_child_outlives_an_error_even_one_that_ignores_signals(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "geoflow_ros.simulation.processes._PATIENCE_S",
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)),
    )
    stubborn = "import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\nprint('up'); time.sleep(60)"
    with pytest.raises(RuntimeError), Children(tmp_path, {}) as children:
        child = children.start("stubborn", python(stubborn))
        children.wait_for(child, "up", 30.0)
        raise RuntimeError("the caller's own trouble")
    assert not alive(child.process.pid)


def test_interrupting_the_parent_ends_the_children(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom geoflow_ros.simulation.processes import Children\n"
        f"with Children(Path({str(tmp_path)!r}), {{}}) as children:\n"
        "    child = children.start('sleeper', [sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    print(child.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGINT)
    parent.wait(timeout=30)
    parent.stdout.close()
    assert not alive(pid)


def test_a_program_that_does_not_exist_is_one_clear_line(tmp_path):
    with Children(tmp_path, {}) as children, pytest.raises(InputError, match="cannot start the nothing"):
        children.start("nothing", ["/no/such/program"])


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


def test_the_picture_of_one_frame_is_drawn(converging_bundle, tmp_path):
    bundle = Bundle.load(converging_bundle)
    pair = synthetic.sampler_for(bundle.manifest, synthetic.Protocol(Area.CROSS, 1, 14)).pair(0)
    patch = synthetic.as_patch(pair, bundle.manifest)
    fix = Localizer(bundle, hypotheses=20).localize(pair.ground, patch)
    report.flow_picture(fix, patch, pair.ground, patch.frame.local_to_enu(pair.offset_m), tmp_path / "frame.png")
    assert picture_of(tmp_path / "frame.png").shape[0] > 600


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
