"""Pictures that a person can judge: overlays of fixes, drives on the map, learning curves."""

from geoflow_ros.visualization.overlay import draw_fix

__all__ = ["draw_fix"]
