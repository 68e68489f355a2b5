"""`geoflow evaluate dataset`: a bundle on the pairs of a recorded data set."""

import argparse
from pathlib import Path

from geoflow_ros.cli import options
from geoflow_ros.cli.options import COUNT, SEED
from geoflow_ros.cli.parser import CommandParser


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = "Asks a bundle about a data set that lies in a folder; prints the tables of the papers."
    parser.add_argument("name", choices=("kitti",), help="which data set")
    parser.add_argument("folder", type=Path, help="where it lies")
    parser.add_argument("--split", default="test1", help="kitti: train, test1 (same area) or test2 (cross area)")
    options.add_model(parser)
    parser.add_argument("--pairs", type=COUNT, help="how many, evenly spread over the split (default: all)")
    parser.add_argument("--seed", type=SEED, default=0, help="of the priors that the data set does not hold")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from geoflow_ros.evaluation.datasets.kitti import KittiReader
    from geoflow_ros.evaluation.datasets.measuring import measure_dataset

    reader = KittiReader(args.folder, args.split, args.seed)
    backend = options.backend_options(args)
    report = measure_dataset(args.model, reader, args.pairs, backend, progress=not args.quiet)
    print(report.text())
    options.write_json(args.json, report.as_json())
    return 0
