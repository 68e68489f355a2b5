"""What the package logs, in ROS's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from geoflow_ros.ros.log import forward_logs


class RosLogger:
    """Notes what it is told, and at which level."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def error(self, text: str) -> None:
        self.said.append(("error", text))

    def warning(self, text: str) -> None:
        self.said.append(("warning", text))

    def info(self, text: str) -> None:
        self.said.append(("info", text))


@pytest.fixture
def ros_logger() -> Iterator[RosLogger]:
    logger, package = RosLogger(), logging.getLogger("geoflow_ros")
    level, handler = package.level, forward_logs(logger)
    yield logger
    package.removeHandler(handler)
    package.setLevel(level)


def test_what_the_package_logs_from_info_on_is_said_at_its_level(ros_logger: RosLogger) -> None:
    log = logging.getLogger("geoflow_ros.somewhere")
    log.debug("nothing")
    log.info("took %d ms", 5)
    log.warning("slow")
    log.critical("gone")
    assert ros_logger.said == [("info", "took 5 ms"), ("warning", "slow"), ("error", "gone")]
