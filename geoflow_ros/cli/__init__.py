"""The commands: `geoflow` with one module a command, and the ROS nodes' executables `localizer` and `tile_publisher`.

`dispatch` finds the command, `parser` and `options` read its arguments, `signals` sees to how it ends. Each command
imports what it needs when it runs, and hands over to the library.
"""

from geoflow_ros.cli.dispatch import localizer, main, tile_publisher

__all__ = ["localizer", "main", "tile_publisher"]
