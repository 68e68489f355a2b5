"""Replay of recorded drives: any bag through the vehicle's pipeline, with a report."""

from geoflow_ros.evaluation.replay.run import ReplayResult, ReplaySettings, replay_bag
from geoflow_ros.evaluation.replay.topics import Wanted

__all__ = ["ReplayResult", "ReplaySettings", "Wanted", "replay_bag"]
