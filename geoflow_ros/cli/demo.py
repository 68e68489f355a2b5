"""`geoflow demo`: a vehicle drives, is localized, and the result is measured."""

import argparse
from importlib import import_module
from pathlib import Path

from geoflow_ros.cli.options import AREAS, LOCALIZERS, MODEL_HELP, POSITIVE, SEED, add_json, add_quiet, write_json
from geoflow_ros.cli.parser import CommandParser, Number
from geoflow_ros.errors import InputError


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "A simulated vehicle drives through a city in real time, the localizer follows it on the city's map, and the "
        "recorded drive is measured. Leaves a bag, the map, the figures and pictures. Needs the extra [demo]."
    )
    seconds = Number(float, above=0, metavar="S")
    parser.add_argument(
        "--seconds", type=seconds, help="length of the drive, real time (default 60; with --faults theirs)"
    )
    parser.add_argument("--seed", type=SEED, default=1, help="which drive")
    parser.add_argument("--area", choices=AREAS, default="same", help="the town of the training, or a new city")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="for bag, map and pictures")
    parser.add_argument("--localizer", choices=LOCALIZERS, help="take the shipped model of this method (birds_eye)")
    parser.add_argument("--model", help=f"{MODEL_HELP} (default: the one for the area and localizer)")
    parser.add_argument("--image-rate", type=POSITIVE, default=5.0, metavar="HZ", help="camera frames a second")
    parser.add_argument(
        "--faults",
        action="store_true",
        help="let everything go wrong once: camera, odometry, clock, heading, prior, the node itself, tile server",
    )
    add_json(parser)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Drives and measures."""
    for module in ("rclpy", "rosbags", "matplotlib"):  # said now, not after a minute of rendering
        import_module(module)
    from geoflow_ros.evaluation.faults import faults_table
    from geoflow_ros.evaluation.tables import drive_table
    from geoflow_ros.simulation.demo import DemoSettings, run_demo
    from geoflow_ros.simulation.faults import drive_seconds, schedule
    from geoflow_ros.world.pairs import Area

    faults = schedule() if args.faults else ()
    least_s = drive_seconds(faults) if faults else 60.0
    if faults and args.seconds is not None and args.seconds < least_s:
        raise InputError(f"all faults take {least_s:.0f} s: leave --seconds out, or give as many")
    settings = DemoSettings(
        seconds=args.seconds or least_s,
        seed=args.seed,
        area=Area(args.area),
        out=args.out,
        model=args.model,
        localizer=args.localizer,
        image_rate_hz=args.image_rate,
        progress=not args.quiet,
        faults=faults,
    )
    result = run_demo(settings)
    # With faults the whole drive's figures say little: a clock and a prior were wrong on purpose.
    print(faults_table(result.faults) if result.faults else drive_table(result.metrics))
    print()
    for path in result.files:
        print(path)
    write_json(args.json, result.metrics)
    return 0
