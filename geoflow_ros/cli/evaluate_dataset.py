"""`geoflow evaluate dataset`: a bundle on the pairs of a recorded data set."""

import argparse
from pathlib import Path

from geoflow_ros.cli import options
from geoflow_ros.cli.options import COUNT, DEGREES_OR_NONE, POSITIVE, SEED, TILES_HELP
from geoflow_ros.cli.parser import CommandParser

_KITTI, _OWN = "kitti", "drive"


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = "Asks a bundle about a data set that lies in a folder; prints the tables of the papers."
    parser.add_argument("name", choices=(_KITTI, _OWN), help="which data set, or a drive of your own")
    parser.add_argument("folder", type=Path, help="where it lies; of a drive, with a file drive.csv")
    parser.add_argument("--split", default="test1", help="kitti: train, test1 (same area) or test2 (cross area)")
    parser.add_argument("--tiles", help=f"drive: {TILES_HELP}")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="drive: of the camera, in ROS's format")
    parser.add_argument("--prior-radius-m", type=POSITIVE, default=20.0, metavar="M", help="drive: error of the prior")
    parser.add_argument("--heading-uniform-deg", type=DEGREES_OR_NONE, default=6.0, help="drive: of its heading, ±")
    options.add_model(parser)
    parser.add_argument("--pairs", type=COUNT, help="how many, evenly spread over the split (default: all)")
    parser.add_argument("--seed", type=SEED, default=0, help="of the priors that the data set does not hold")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from contextlib import ExitStack, closing

    from geoflow_ros.errors import InputError
    from geoflow_ros.evaluation.datasets.kitti import KittiReader
    from geoflow_ros.evaluation.datasets.labelled import PairReader
    from geoflow_ros.evaluation.datasets.measuring import measure_dataset
    from geoflow_ros.evaluation.datasets.own_drive import OwnDriveReader
    from geoflow_ros.geo.camera.calibration_file import read_calibration
    from geoflow_ros.tiles import open_tile_source

    with ExitStack() as opened:
        reader: PairReader
        if args.name == _KITTI:
            reader = KittiReader(args.folder, args.split, args.seed)
        elif args.tiles is None:
            raise InputError("a drive of your own needs a map: give --tiles")
        else:
            source = opened.enter_context(closing(open_tile_source(args.tiles)))
            lens = None if args.calibration is None else read_calibration(args.calibration)
            told = args.prior_radius_m, args.heading_uniform_deg, lens
            drive = OwnDriveReader(args.folder / "drive.csv", source, args.seed, *told)
            reader = opened.enter_context(closing(drive))
        backend = options.backend_options(args)
        report = measure_dataset(args.model, reader, args.pairs, backend, progress=not args.quiet)
    print(report.text())
    options.write_json(args.json, report.as_json())
    return 0
