"""`geoflow evaluate lenses`: a bundle through other cameras than its own."""

import argparse

from geoflow_ros.cli import options
from geoflow_ros.cli.options import AREAS, COUNT, SEED
from geoflow_ros.cli.parser import CommandParser


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Asks a bundle about the same places through calibrated cameras with other lenses and mountings, each warped "
        "to the bundle's own camera; and through one that is taken for it."
    )
    options.add_model(parser)
    parser.add_argument("--area", choices=AREAS, default="cross", help="the town of the training, or new cities")
    parser.add_argument("--pairs", type=COUNT, default=200, help="how many places")
    parser.add_argument("--seed", type=SEED, default=0, help="which places")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from geoflow_ros.evaluation.lenses import measure_lenses
    from geoflow_ros.evaluation.synthetic import Protocol
    from geoflow_ros.world.pairs import Area

    protocol = Protocol(Area(args.area), args.pairs, args.seed)
    backend = options.backend_options(args)
    report = measure_lenses(args.model, protocol, backend, progress=not args.quiet)
    print(report.text())
    options.write_json(args.json, report.as_json())
    return 0
