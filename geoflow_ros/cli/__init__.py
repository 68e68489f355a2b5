"""The commands: `geoflow` with one module a command, and the ROS node's executable `localizer`.

`dispatch` finds the command, `parser` and `options` read its arguments, `signals` sees to how it ends. Each command
imports what it needs when it runs, and hands over to the library.
"""

from geoflow_ros.cli.dispatch import localizer, main

__all__ = ["localizer", "main"]
