"""Replay of recorded drives: any bag through the vehicle's pipeline, with a report."""

from geoflow_ros.evaluation.replay.comparison import ReplayComparison, compare_replays
from geoflow_ros.evaluation.replay.run import ReplayResult, ReplaySettings, replay_bag
from geoflow_ros.evaluation.replay.topics import Wanted

__all__ = ["ReplayComparison", "ReplayResult", "ReplaySettings", "Wanted", "compare_replays", "replay_bag"]
