"""A bag is replayed: the same twice, whatever the order of its messages; what is missing is said in one line."""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx (the extra [test])")

from fakes.bags import SENSORS, START_NS, message, odometry, sensor_messages, write_messages
from fakes.bundle import write_bundle
from fakes.map import DATUM, write_map

from geoflow_ros.backends import BackendOptions
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag_files import Bag
from geoflow_ros.evaluation.replay import ReplaySettings, Wanted, replay_bag
from geoflow_ros.evaluation.replay.files import NAMESPACE
from geoflow_ros.evaluation.replay.topics import choose
from geoflow_ros.evaluation.replay.truth import read_tum
from geoflow_ros.stamps import stamp_ns

FRAMES = 13
SAME = ("frames.csv", "fixes.tum", "track.tum", "truth.tum", "report.html", "answers/answers.mcap")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a map."""
    folder = tmp_path_factory.mktemp("place")
    write_bundle(folder)
    write_map(folder / "noise.mbtiles")
    return folder


def settings(place: Path, bag: Path, out: Path, **changes: Any) -> ReplaySettings:
    options = ReplaySettings(
        bag,
        str(place / "noise.mbtiles"),
        out,
        datum=(DATUM.lat_deg, DATUM.lon_deg),
        model=place / "colours",
        backend=BackendOptions("onnxruntime", threads=1),
    )
    return replace(options, **changes)


def written(path: Path, messages: Iterable[tuple[int, str, Any]] | None = None, **options: Any) -> Path:
    return write_messages(path, sensor_messages() if messages is None else messages, **options)


def without(topic: str) -> list[tuple[int, str, Any]]:
    return [entry for entry in sensor_messages() if entry[1] != topic]


def rmse(estimate: Path, truth: Path) -> float:
    """The root mean square of the distances of two TUM files at equal stamps."""
    rows = [
        {line.split()[0]: line.split()[1:3] for line in path.read_text().splitlines()} for path in (estimate, truth)
    ]
    pairs = np.array([(rows[0][at], rows[1][at]) for at in rows[0] if at in rows[1]], float)
    assert len(pairs)
    return float(np.sqrt(np.mean(np.sum((pairs[:, 0] - pairs[:, 1]) ** 2, axis=1))))


def test_a_drive_is_replayed_with_all_that_it_leaves(place: Path, tmp_path: Path) -> None:
    said: list[str] = []
    result = replay_bag(settings(place, written(tmp_path / "bag"), tmp_path / "out"), said.append)
    out, metrics = tmp_path / "out", json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["frames"] == metrics["fixes"] == FRAMES
    assert metrics["availability"] == 1.0
    assert {"recall_5m", "lateral_mean_error_m", "anees", "coverage_95", "nll", "latency_ms"} <= metrics.keys()
    assert any(line.startswith("image") and "/camera/image/compressed" in line for line in said)
    for name, figures in (("fixes", metrics), ("track", metrics["track"])):
        assert rmse(out / f"{name}.tum", out / "truth.tum") == pytest.approx(figures["rmse_m"], abs=1e-3)
    with (out / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["stamp_ns"]) for row in rows] == result.answers.stamps_ns.tolist()
    with Bag(out / "answers") as bag:
        counts = {topic.name: topic.count for topic in bag.topics}
        poses = [m for _, _, m in bag.messages([f"{NAMESPACE}/pose"])]
    assert counts[f"{NAMESPACE}/hypotheses"] == counts[f"{NAMESPACE}/diagnostics"] == FRAMES
    assert counts[f"{NAMESPACE}/patch/compressed"] == metrics["published"] > 1
    assert [stamp_ns(m.header.stamp) for m in poses] == result.answers.stamps_ns.tolist()


def test_the_report_needs_no_network_and_shows_the_worst_frames(place: Path, tmp_path: Path) -> None:
    replay_bag(settings(place, written(tmp_path / "bag"), tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text()
    addresses = re.findall(r'(?:href|src)="([^"]{0,11})', page)
    assert addresses
    assert {address[:11] for address in addresses} == {"data:image/"}
    assert "prefers-color-scheme" in page
    assert 'id="map"' in page
    assert page.count("<figure>") >= 2
    assert "m off" in page


def test_two_replays_are_the_same_to_the_bit_also_with_messages_in_another_order(place: Path, tmp_path: Path) -> None:
    mixed = list(sensor_messages())
    # received up to 0.4 s late, each topic by itself out of order
    rng = random.Random(0)
    late = sorted(((at + rng.randrange(400_000_000), topic, m) for at, topic, m in mixed), key=lambda entry: entry[0])
    for name, messages in (("once", mixed), ("twice", mixed), ("late", late)):
        (tmp_path / name).mkdir()
        bag = written(tmp_path / name / "bag", messages)
        replay_bag(settings(place, bag, tmp_path / name / "out"))
    for name in SAME:
        contents = [(tmp_path / run / "out" / name).read_bytes() for run in ("once", "twice", "late")]
        assert contents[0] == contents[1], name
        if name.endswith((".csv", ".tum")):
            assert contents[0] == contents[2], name


def test_the_truth_may_be_a_file_and_the_start_be_typed(place: Path, tmp_path: Path) -> None:
    first = replay_bag(settings(place, written(tmp_path / "bag"), tmp_path / "a"))
    lat, lon = DATUM.to_latlon(1.0, -10.0)
    again = settings(place, written(tmp_path / "bare", without("/initialpose")), tmp_path / "b")
    truth = tmp_path / "a" / "truth.tum"
    second = replay_bag(replace(again, truth_file=truth, start=(lat, lon, 0.0)))
    assert second.metrics["compared_with_truth"] == first.metrics["compared_with_truth"] == FRAMES
    assert len(read_tum(truth)) == FRAMES


def test_without_odometry_a_transform_or_satellite_fixes_stand_in(place: Path, tmp_path: Path) -> None:
    kinds = {**SENSORS, "/tf": "tf2_msgs/msg/TFMessage", "/fix": "sensor_msgs/msg/NavSatFix"}
    for topic, make, said in (("/tf", transform, "odom → base_link"), ("/fix", satellite_fix, "which is rough")):
        messages = [
            (at, topic, make(at, content)) if name == "/odom" else (at, name, content)
            for at, name, content in sensor_messages()
        ]
        told: list[str] = []
        bag = written(tmp_path / topic[1:], messages, kinds={k: v for k, v in kinds.items() if k != "/odom"})
        metrics = replay_bag(settings(place, bag, tmp_path / "out"), told.append).metrics
        assert any(said in line for line in told)
        assert metrics["fixes"] >= FRAMES - 2
        assert metrics["track"]["rmse_m"] < 3.0


def transform(at_ns: int, odom: Any) -> Any:
    pose = odom.pose.pose
    inner = message(
        "geometry_msgs/msg/Transform",
        translation=message("geometry_msgs/msg/Vector3", x=pose.position.x, y=pose.position.y, z=0.0),
        rotation=pose.orientation,
    )
    stamped = message(
        "geometry_msgs/msg/TransformStamped",
        header=replace(odom.header, frame_id="odom"),
        child_frame_id="base_link",
        transform=inner,
    )
    return message("tf2_msgs/msg/TFMessage", transforms=[stamped])


def satellite_fix(at_ns: int, odom: Any) -> Any:
    lat, lon = DATUM.to_latlon(0.0, -10.0 + odom.pose.pose.position.x)
    return message(
        "sensor_msgs/msg/NavSatFix",
        header=odom.header,
        status=message("sensor_msgs/msg/NavSatStatus", status=0, service=1),
        latitude=lat,
        longitude=lon,
        altitude=0.0,
        position_covariance=np.diag([1.0, 1.0, 4.0]).ravel(),
        position_covariance_type=2,
    )


@pytest.mark.parametrize(
    ("topic", "wanted", "said"),
    [
        ("/camera/image/compressed", Wanted(), "has no camera.*its topics are .*/odom"),
        ("/odom", Wanted(), "has no odometry.*its topics are"),
        ("/initialpose", Wanted(), "--start LAT,LON,HEADING"),
        ("", Wanted(image="/nothing"), "--image: .* has no topic /nothing; its topics are .*/odom"),
        ("", Wanted(image="/odom"), "--image: /odom is of type nav_msgs/msg/Odometry, and sensor_msgs/msg/Image"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    place: Path, tmp_path: Path, topic: str, wanted: Wanted, said: str
) -> None:
    bag = written(tmp_path / "bag", without(topic))
    with pytest.raises(InputError, match=said) as caught:
        replay_bag(settings(place, bag, tmp_path / "out", wanted=wanted))
    assert "\n" not in str(caught.value)


def test_where_no_frame_gives_a_pose_it_is_refused_with_counts_and_a_report(place: Path, tmp_path: Path) -> None:
    broken = [
        (at, name, replace(content, data=content.data[:30]) if "image" in name else content)
        for at, name, content in sensor_messages()
    ]
    with pytest.raises(InputError, match=rf"none of {FRAMES} frames gave a pose \(bad_images {FRAMES}\)"):
        replay_bag(settings(place, written(tmp_path / "bag", broken), tmp_path / "out"))
    assert "bad_images" in (tmp_path / "out" / "report.html").read_text()


def test_a_localizers_own_topics_and_depth_images_are_not_taken_for_sensors(tmp_path: Path) -> None:
    kinds = {
        "/depth/image": "sensor_msgs/msg/CompressedImage",
        "/geoflow_localizer/track": "nav_msgs/msg/Odometry",
        "/geoflow_localizer/hypotheses": "geometry_msgs/msg/PoseArray",
    }
    extra = [(START_NS, "/geoflow_localizer/track", odometry(START_NS, 0.0, 0.0, math.pi))] * 100
    picture = next(content for _, topic, content in sensor_messages() if "image" in topic)
    extra += [(START_NS, "/depth/image", picture)] * 100
    bag = written(tmp_path / "bag", [*extra, *sensor_messages()], kinds={**SENSORS, **kinds})
    with Bag(bag) as opened:
        chosen = choose(opened, Wanted())
    assert (chosen.image.name, chosen.odometry and chosen.odometry.name) == ("/camera/image/compressed", "/odom")
    assert chosen.truth is not None
    assert chosen.truth.name == "/ground_truth/odom"
