"""`geoflow replay`: a recorded drive through the localizer, offline."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from geoflow_ros.cli import options
from geoflow_ros.cli.parser import CommandParser, Number

if TYPE_CHECKING:
    from geoflow_ros.evaluation.replay import ReplayComparison, ReplayResult, ReplaySettings

_TOPICS = (
    ("image", "camera: sensor_msgs/Image or CompressedImage"),
    ("camera-info", "its calibration: sensor_msgs/CameraInfo"),
    ("odom", "odometry: nav_msgs/Odometry; '' takes /tf or the satellite fixes"),
    ("imu", "absolute yaw (ENU): sensor_msgs/Imu; '' does without"),
    ("fix", "satellite fixes, for the start: sensor_msgs/NavSatFix; '' does without"),
    ("start-pose", "where the drive begins: geometry_msgs/PoseWithCovarianceStamped"),
)


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Reads a bag (ROS 1 .bag, rosbag2 SQLite or MCAP, split, compressed, without metadata.yaml) as a vehicle's "
        "sensors, and localizes it as the node would, in the order of the stamps and the same on every run. Topics "
        "are found by their types where they are not named."
    )
    parser.add_argument("bag", type=Path, help="the bag's folder or file")
    parser.add_argument("--tiles", required=True, help=options.TILES_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for figures, poses and report")
    topics = parser.add_argument_group("topics (found by their types where not given)")
    for name, what in _TOPICS:
        topics.add_argument(f"--{name}", metavar="TOPIC", help=what)
    topics.add_argument(
        "--truth",
        metavar="TOPIC|FILE",
        help="where it really was: NavSatFix (RTK), or Odometry, PoseStamped or a TUM file in the map frame",
    )
    parser.add_argument(
        "--start",
        type=_Numbers(3, "LAT,LON,HEADING"),
        metavar="LAT,LON,HEADING",
        help="where the drive begins, degrees, heading clockwise from north (default: what the bag says)",
    )
    parser.add_argument(
        "--datum",
        type=_Numbers(2, "LAT,LON"),
        metavar="LAT,LON",
        help="origin of the map frame, degrees (default: the middle of the tiles)",
    )
    _add_camera(parser)
    options.add_model(parser)
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="MODEL",
        help="another model on the same frames, beside --model: each in a folder of its name (may be given again)",
    )
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=run)


def _add_camera(parser: CommandParser) -> None:
    metres = Number(float, at_least=-50, at_most=50, unit="metres", metavar="M")
    group = parser.add_argument_group("camera (by camera_info and /tf_static where not given)")
    group.add_argument("--calibration", type=Path, metavar="FILE", help="of the lens, in ROS's YAML format")
    group.add_argument("--rectified", action="store_true", help="pictures are rectified: P and R count, not K and D")
    group.add_argument("--lever-arm", type=metres, nargs=2, metavar=("FORWARD", "LEFT"), help="from base_link, metres")
    group.add_argument(
        "--camera-height", type=Number(float, above=0, at_most=20, unit="metres", metavar="M"), help="above the ground"
    )


def run(args: argparse.Namespace) -> int:
    """Replays and prints."""
    from geoflow_ros.evaluation.replay import compare_replays, replay_bag
    from geoflow_ros.evaluation.tables import replay_comparison, replay_table

    def say(line: str) -> None:
        print(line, flush=True)

    result: ReplayResult | ReplayComparison
    if args.compare:
        result = compare_replays(_settings(args), args.compare, say)
        text = replay_comparison(result.metrics)
    else:
        result = replay_bag(_settings(args), say)
        text = replay_table(result.metrics)
    print(f"\n{text}\n")
    for path in result.files:
        print(path)
    options.write_json(args.json, result.metrics)
    return 0


def _settings(args: argparse.Namespace) -> ReplaySettings:
    from geoflow_ros.evaluation.replay import ReplaySettings, Wanted
    from geoflow_ros.geo.camera import Mounting
    from geoflow_ros.resources import model_path

    truth_file = Path(args.truth) if args.truth and Path(args.truth).is_file() else None
    mounting = None
    if args.lever_arm is not None or args.camera_height is not None:
        forward_m, left_m = args.lever_arm or (0.0, 0.0)
        mounting = Mounting(forward_m, left_m, height_m=args.camera_height)
    return ReplaySettings(
        bag=args.bag,
        tiles=args.tiles,
        out=args.out,
        wanted=Wanted(
            image=args.image,
            camera_info=args.camera_info,
            odometry=args.odom,
            imu=args.imu,
            fix=args.fix,
            truth=None if truth_file else args.truth,
            start=args.start_pose,
        ),
        truth_file=truth_file,
        start=args.start,
        datum=args.datum,
        model=model_path(args.model),
        backend=options.backend_options(args),
        calibration=args.calibration,
        rectified=args.rectified,
        mounting=mounting,
        progress=not args.quiet,
    )


class _Numbers:
    """So many finite numbers with commas between them, as the type of an option."""

    def __init__(self, count: int, form: str) -> None:
        self._count, self._form = count, form

    def __call__(self, text: str) -> tuple[float, ...]:
        """Returns the numbers.

        Raises:
            argparse.ArgumentTypeError: there are others.
        """
        try:
            numbers = tuple(float(word) for word in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self._count or not all(map(math.isfinite, numbers)):
            raise argparse.ArgumentTypeError(f"must be {self._form} in degrees, such as 49.01,8.4, not '{text}'")
        if abs(numbers[0]) > 90.0 or abs(numbers[1]) > 180.0:
            raise argparse.ArgumentTypeError(f"latitude is within 90 and longitude within 180 degrees, not '{text}'")
        return numbers
