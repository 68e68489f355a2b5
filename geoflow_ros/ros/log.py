"""What the package logs through Python's logging appears in ROS's log."""

from __future__ import annotations

import logging
from typing import Any


class _RosHandler(logging.Handler):
    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def forward_logs(ros_logger: Any) -> logging.Handler:
    """Hands what `geoflow_ros` logs, from INFO on, to a node's logger.

    Returns:
        The handler, to be removed from the logger `geoflow_ros` when the node ends.
    """
    handler = _RosHandler(ros_logger)
    logger = logging.getLogger("geoflow_ros")
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    return handler
