"""From a command line to its exit code.

Exit codes: 0 done; 2 bad input (one line on standard error); 1 a part of the system failed; 130 interrupted (Ctrl-C);
143 terminated (SIGTERM).
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from geoflow_ros import __version__
from geoflow_ros.cli.parser import CommandParser
from geoflow_ros.cli.signals import EndingSignals, Terminated
from geoflow_ros.errors import GeoFlowError

# Each is the module geoflow_ros.cli.<name>, imported when it is asked for.
COMMANDS = {
    "demo": "a simulated vehicle drives through a city and is localized on its map",
    "localize": "one camera image and a rough position in, latitude and longitude out",
    "train": "train on ever new synthetic worlds",
    "export": "a checkpoint becomes a model bundle (ONNX and manifest)",
    "evaluate": "measure a model, a recorded drive or a training run",
    "replay": "a recorded drive, any bag, through the localizer: figures, trajectories and a report",
    "tiles": "fetch, serve, describe or show satellite tiles",
    "bench": "speed, memory and start of every back end on this machine",
}

# Which extra brings a module that the run-time dependencies do not.
_EXTRA_OF_MODULE = {
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "openvino": "openvino",
    "tensorrt_rtx": "rtx",
    "cuda": "rtx",
    "safetensors": "train",
    "tensorboard": "train",
    "rclpy": "ros",
    "sensor_msgs": "ros",
    "nav_msgs": "ros",
    "geometry_msgs": "ros",
    "diagnostic_msgs": "ros",
    "std_srvs": "ros",
    "rcl_interfaces": "ros",
    "rosbags": "demo",
    "matplotlib": "plots",
    "rasterio": "geotiff",
    "pmtiles": "pmtiles",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    args = _parser().parse_args(argv)
    who = f"geoflow {args.command}"
    try:
        with EndingSignals():
            return int(args.run(args))
    except GeoFlowError as error:
        return _complain(who, str(error), getattr(error, "exit_code", 2))
    except ModuleNotFoundError as error:
        return _complain(who, _missing_extra(error), 2)
    except KeyboardInterrupt:
        return _complain(who, "interrupted", 130)
    except Terminated as ended:
        return _complain(who, "terminated", ended.exit_code)
    except BrokenPipeError:  # the reader of our output has gone (`geoflow … | head`)
        sys.stderr.close()
        return 1


def localizer() -> int:
    """The executable `localizer`: the ROS node, or one line where ROS is not installed."""
    return _node("localizer", "geoflow_ros.ros.command")


def tile_publisher() -> int:
    """The executable `tile_publisher`: likewise."""
    return _node("tile_publisher", "geoflow_ros.ros.tile_publisher")


def _node(name: str, module: str) -> int:
    try:
        return int(import_module(module).main())
    except ModuleNotFoundError as error:
        return _complain(name, _missing_extra(error), 2)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="geoflow", description="Localize a camera on a satellite map: demo, training, export, evaluation, tiles."
    )
    parser.add_argument("--version", action="version", version=f"geoflow_ros {__version__}")
    commands = parser.add_commands("command", "COMMAND")
    for name, what in COMMANDS.items():
        commands.add_parser(name, help=what, add_options=_options_of(name))
    return parser


def _options_of(command: str) -> Callable[[CommandParser], None]:
    def add_options(parser: CommandParser) -> None:
        import_module(f"geoflow_ros.cli.{command}").add_options(parser)

    return add_options


def _complain(who: str, message: str, exit_code: int) -> int:
    print(f"{who}: {message}", file=sys.stderr)
    return exit_code


def _missing_extra(error: ModuleNotFoundError) -> str:
    """What to install for a module that is missing; raises the error again if no extra brings it."""
    module = (error.name or "").split(".")[0]
    if module not in _EXTRA_OF_MODULE:
        raise error
    return f"{module} is not installed: pip install 'geoflow_ros[{_EXTRA_OF_MODULE[module]}]'"
