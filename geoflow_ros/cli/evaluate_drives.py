"""`geoflow evaluate drives`: whole simulated drives, localized offline."""

import argparse
from pathlib import Path

from geoflow_ros.cli import options
from geoflow_ros.cli.options import AREAS, COUNT, MODEL_HELP, POSITIVE, SEED
from geoflow_ros.cli.parser import CommandParser, Number

SPLITS = ("test", "validation")
DISTURBED = ("right", "wrong_map", "black_camera", "other_camera", "other_style")


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Drives through synthetic cities and has bundles follow, without ROS and the same on every run: tracked and "
        "published poses against the truth. Every drive is rendered once for all bundles and disturbances."
    )
    parser.add_argument(
        "--model", action="append", required=True, help=f"{MODEL_HELP}; give several to compare them on the same drives"
    )
    parser.add_argument("--drives", type=COUNT, default=20, help="how many, of the seeds from --seed on")
    parser.add_argument("--seconds", type=Number(float, above=0, metavar="S"), default=300.0, help="length of each")
    parser.add_argument(
        "--seed", type=SEED, default=0, help="of the first drive; those of the test split are the demo's"
    )
    parser.add_argument("--area", choices=AREAS, default="cross", help="the town of the training, or new cities")
    options.add_conditions(parser, "camera, weather and map")
    parser.add_argument(
        "--photometric", action="store_true", help="change colours, tones and sharpness of camera and map strongly"
    )
    parser.add_argument("--rate", type=POSITIVE, default=5.0, metavar="HZ", help="camera frames a second")
    parser.add_argument(
        "--disturbed",
        nargs="+",
        choices=DISTURBED,
        default=["right"],
        metavar="NAME",
        help="right, wrong_map (another city's), black_camera (from second 30 on), other_camera (of another drive), "
        "other_style (of the map); default right",
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="whose worlds: tune on validation")
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw the track's errors over the driven way")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The figures of models that follow drives."""
    from geoflow_ros.evaluation.drive_protocol import DriveProtocol
    from geoflow_ros.evaluation.drives import measure_drives
    from geoflow_ros.world import Area, Split
    from geoflow_ros.world.conditions import conditions_named

    protocol = DriveProtocol(
        area=Area(args.area),
        drives=args.drives,
        seconds=args.seconds,
        seed=args.seed,
        conditions=conditions_named(args.conditions),
        photometric=args.photometric,
        rate_hz=args.rate,
        disturbed=tuple(dict.fromkeys(args.disturbed)),
        split=Split[args.split.upper()],
    )
    backend = options.backend_options(args)
    report = measure_drives(args.model, protocol, backend=backend, progress=not args.quiet)
    print(report.text())
    options.write_json(args.json, report.as_json())
    if args.out:
        from geoflow_ros.visualization.drives import TrackErrors, drives_picture

        rows = {
            name: {model: TrackErrors(*drive.plotted()) for model, drive in of_models.items()}
            for name, of_models in report.worst().items()
        }
        drives_picture(f"{protocol.title}\nof each row and model the drive with the largest error", rows, args.out)
        print(f"\n{args.out}")
    return 0
