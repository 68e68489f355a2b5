"""Pictures for people: fixes on their patches, drives on the map, learning curves."""

from geoflow_ros.visualization.overlay import draw_fix, draw_patch

__all__ = ["draw_fix", "draw_patch"]
