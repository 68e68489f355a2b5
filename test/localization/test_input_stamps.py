"""What is odd about the stamps of each input is told apart, counted and named."""

from __future__ import annotations

import logging

import pytest

from geoflow_ros.localization.input_stamps import IMU, InputStamps, StampVerdict
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND as NS


def test_stamps_are_told_apart_and_counted_by_input(caplog: pytest.LogCaptureFixture) -> None:
    stamps = InputStamps()
    seen = [100.0, 100.1, 100.1, 100.05, 0.0, 90.0, 90.1, 90.1]
    with caplog.at_level(logging.WARNING):
        verdicts = [stamps.look(IMU, round(at_s * NS)) for at_s in seen]
    new, same, late, zero, back = (
        StampVerdict.NEWER,
        StampVerdict.DUPLICATE,
        StampVerdict.LATE,
        StampVerdict.ZERO,
        StampVerdict.JUMPED_BACK,
    )
    assert verdicts == [new, new, same, late, zero, back, new, same]
    facts = stamps.facts()
    assert facts["imu_stamps"] == "1 without a stamp, 2 duplicate, 1 late, 1 after the clock jumped back"
    assert facts["odometry_stamps"] == "in order"
    assert [record.getMessage() for record in caplog.records] == [
        "imu: its clock jumped back by 10.1 s, as of a bag that begins again"
    ]
