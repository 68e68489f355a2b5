"""Recorded drives: what is read from a bag, its figures, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.bags import SECOND_NS, START_NS, write_bag

from geoflow_ros.arrays import Int64Array
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag import Topics, availability, drive_figures, read_drive
from geoflow_ros.evaluation.tables import drive_table


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = write_bag(tmp_path_factory.mktemp("bags") / "drive")
    return path


def fixes_at(stamps_ns: Int64Array, latencies_ns: int | Int64Array = 0) -> Int64Array:
    return np.stack([stamps_ns, stamps_ns + latencies_ns], axis=1)


def test_a_recorded_drive_gives_the_figures_computed_by_hand(bag: Path) -> None:
    f = drive_figures(read_drive(bag))
    assert f["dead_reckoning"]["final_error_m"] == pytest.approx(3.0, abs=1e-6)
    assert f["dead_reckoning"]["median_error_m"] == pytest.approx(1.5, abs=0.02)
    assert f["fixes"]["rmse_m"] == pytest.approx(1.0)
    assert f["fixes"]["longitudinal_mean_error_m"] == pytest.approx(1.0)
    assert f["fixes"]["lateral_mean_error_m"] == pytest.approx(0.0, abs=1e-9)
    assert f["fixes"]["anees"] == pytest.approx(0.5)
    assert f["track"]["rmse_m"] == pytest.approx(0.5)
    assert f["fixes_per_second"] == pytest.approx(5.1)
    assert f["poses_per_second"] == pytest.approx(1.1)
    assert f["latency_ms"]["p95"] == pytest.approx(80.0)
    assert f["availability"] == 1.0
    assert f["distance_m"] == pytest.approx(100.0)


def test_a_single_mcap_file_is_read_as_its_folder_is(bag: Path) -> None:
    assert len(read_drive(next(bag.glob("*.mcap"))).truth) == 101


def test_a_bag_without_fixes_says_so_instead_of_giving_figures(tmp_path: Path) -> None:
    record = read_drive(write_bag(tmp_path / "silent", with_fixes=False))
    with pytest.raises(InputError, match="published no pose"):
        drive_figures(record)


def test_availability_counts_frames_whose_last_fix_is_fresh() -> None:
    frames = START_NS + np.arange(10) * SECOND_NS
    assert availability(frames, fixes_at(frames)) == 1.0
    assert availability(frames, fixes_at(frames[5:])) == 0.5
    assert availability(frames, fixes_at(frames[:1])) == 0.2  # a fix is fresh for one second
    assert availability(frames, fixes_at(frames[:0])) == 0.0
    assert availability(frames[:0], fixes_at(frames)) == 0.0


def test_a_fix_that_came_late_counts_for_no_frame() -> None:
    frames = START_NS + np.arange(10) * SECOND_NS
    latencies_ns = np.where(np.arange(10) < 5, SECOND_NS // 20, 3 * SECOND_NS)
    assert availability(frames, fixes_at(frames, latencies_ns)) == 0.6  # the sixth frame has the fifth's
    assert availability(frames, fixes_at(frames, 3 * SECOND_NS)) == 0.0


def test_where_the_clocks_differ_all_but_the_latency_is_measured(bag: Path) -> None:
    record = read_drive(bag)
    received_ns = record.fixes.received_ns.copy()
    received_ns[3] = record.fixes.stamps_ns[3] - 5_000_000
    expected = drive_figures(record)
    assert "p95 80" in drive_table(expected)
    f = drive_figures(replace(record, fixes=replace(record.fixes, received_ns=received_ns)))
    assert f == expected | {"latency_ms": None}
    assert "camera's and the recorder's clocks differ" in drive_table(f)


@pytest.mark.parametrize("share_kept", [0.0, 0.1, 0.5, 0.9])
def test_a_bag_that_ends_in_its_first_chunk_is_refused_with_one_clear_line(
    bag: Path, tmp_path: Path, share_kept: float
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bag, broken)
    data = next(broken.glob("*.mcap"))
    data.write_bytes(data.read_bytes()[: int(data.stat().st_size * share_kept)])
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        read_drive(broken)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bag at"):
        read_drive(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="not a bag"):
        read_drive(tmp_path / "folder")
    (tmp_path / "text.mcap").write_text("this is not MCAP")
    with pytest.raises(InputError, match="truncated or damaged"):
        read_drive(tmp_path / "text.mcap")


def test_a_bag_of_other_topics_names_the_one_that_is_missing(bag: Path) -> None:
    with pytest.raises(InputError, match=r"/no/truth has 0 messages; .*/geoflow_localizer/pose, .*/odom"):
        read_drive(bag, Topics(truth="/no/truth"))
