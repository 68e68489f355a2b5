"""robot_localization behind the localizer: its own filter where it can be compiled, what it answered where not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation.fusion.filter_core import FilterSettings, NoFilterCoreError, answers_of, compiled
from evaluation.fusion.measure import BEFORE, settled, variants
from evaluation.fusion.recorded import FusionDrive

from geoflow_ros.evaluation.drive_answers import Poses

STORED = Path(__file__).parent / "fusion" / "drive.npz"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return compiled(tmp_path_factory.mktemp("filter_core"))
    except NoFilterCoreError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def drive() -> FusionDrive:
    return FusionDrive.of_file(STORED)


def poses_of(drive: FusionDrive, name: str) -> Poses:
    with np.load(STORED) as stored:
        return settled(drive, *(stored[f"{name}_{key}"] for key in ("stamps_ns", "positions_m", "covariances")))


def test_what_is_stored_was_answered_to_the_settings_that_we_ship() -> None:
    with np.load(STORED) as stored:
        assert json.loads(str(stored["ours_settings"])) == FilterSettings.of_file("ekf_map").parameters
        assert json.loads(str(stored["before_settings"])) == variants()[BEFORE].parameters


def test_the_filter_is_near_the_truth_and_says_how_near(drive: FusionDrive) -> None:
    ours, before = poses_of(drive, "ours"), poses_of(drive, "before")
    assert len(ours) > 200
    assert ours.rmse_m is not None
    assert before.rmse_m is not None
    assert ours.rmse_m < 0.6 * before.rmse_m
    assert ours.rmse_m < 1.0
    within, within_before = ours.share_within(0.95), before.share_within(0.95)
    assert within is not None
    assert within_before is not None
    assert within >= 0.95 > 0.85 > within_before


def test_poses_come_late_and_once_in_10_m(drive: FusionDrive) -> None:
    """What makes the settings necessary is in the drive: without it they would prove nothing."""
    delays_s = (drive.poses.received_ns - drive.poses.stamps_ns) * 1e-9
    assert 0.05 < np.median(delays_s) < 1.0
    steps_m = np.hypot(*np.diff(drive.poses.values[:, :2], axis=0).T)
    assert steps_m.min() > 7.0  # of the poses, which err; of the odometry it is 10


@pytest.mark.parametrize(("name", "variant"), [("ours", "config/ekf.yaml (+ process noise)"), ("before", BEFORE)])
def test_the_filter_still_answers_what_is_stored(program: Path, drive: FusionDrive, name: str, variant: str) -> None:
    answers = answers_of(program, variants()[variant], drive)
    with np.load(STORED) as stored:
        for key, value in answers.states().items():
            # Numbers that the driver printed with nine digits; compilers differ behind them.
            np.testing.assert_allclose(value[::6], stored[f"{name}_{key}"], rtol=1e-5, atol=1e-5)
