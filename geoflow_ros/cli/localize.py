"""`geoflow localize`: one image and a rough position in, the position out."""

import argparse
import math
import sys
from pathlib import Path

from geoflow_ros.cli import options
from geoflow_ros.cli.parser import CommandParser, Number


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Finds where one camera image was taken, near a rough position (within the model's search radius, 20 m for the "
        "shipped ones), on satellite tiles."
    )
    latitude = Number(float, at_least=-90, at_most=90, unit="degrees", metavar="DEG")
    longitude = Number(float, at_least=-180, at_most=180, unit="degrees", metavar="DEG")
    heading = Number(float, at_least=-360, at_most=360, unit="degrees clockwise from north", metavar="DEG")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="camera image (PNG, JPEG, …)")
    parser.add_argument("--lat", type=latitude, required=True, help="rough latitude, degrees (WGS84)")
    parser.add_argument("--lon", type=longitude, required=True, help="rough longitude, degrees (WGS84)")
    parser.add_argument(
        "--heading", type=heading, required=True, help="where the camera looks, degrees clockwise from north"
    )
    parser.add_argument(
        "--heading-error",
        type=Number(float, above=0, at_most=180, unit="degrees", metavar="DEG"),
        help="by how much --heading may be wrong, 180 for anything; bird's-eye models (default: as trained for, 10)",
    )
    parser.add_argument(
        "--position-error",
        type=Number(float, above=0, unit="metres", metavar="M"),
        help="how far off the rough position may be, forward and sideways (default: the model's search radius)",
    )
    _add_camera(parser)
    parser.add_argument("--tiles", required=True, help=options.TILES_HELP)
    options.add_tile_cache(parser)
    options.add_model(parser)
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw the patch with hypotheses, path and ellipse")
    options.add_irs(parser)
    parser.add_argument("--seed", type=options.SEED, default=0, help="of the hypotheses")
    options.add_json(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=run)


def _add_camera(parser: CommandParser) -> None:
    leaning = Number(float, at_least=-60, at_most=60, unit="degrees", metavar="DEG")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="the camera's lens, in ROS's YAML format (default: taken for the model's: its shape and its width)",
    )
    parser.add_argument(
        "--rectified", action="store_true", help="the image is rectified: P and R of --calibration count, not K and D"
    )
    parser.add_argument(
        "--camera-pitch", type=leaning, default=0.0, help="of the camera, degrees; positive looks down (default: 0)"
    )
    parser.add_argument(
        "--camera-roll", type=leaning, default=0.0, help="likewise; positive lowers its right side (default: 0)"
    )
    parser.add_argument(
        "--camera-height",
        type=Number(float, above=0, at_most=20, unit="metres", metavar="M"),
        help="of the camera above the ground (default: the model's camera's)",
    )


def run(args: argparse.Namespace) -> int:
    """Localizes and prints."""
    from geoflow_ros.evaluation.tables import localized_text
    from geoflow_ros.geo.camera import Attitude, Mounting, read_calibration
    from geoflow_ros.images import write_image
    from geoflow_ros.localization.single_image import localize_image
    from geoflow_ros.resources import model_path
    from geoflow_ros.visualization import draw_fix

    if _looks_like_radians(args.heading):
        print(
            f"geoflow localize: warning: --heading {args.heading:g} is taken as degrees clockwise from north; "
            f"if it is radians, give {math.degrees(args.heading):.1f}",
            file=sys.stderr,
        )
    lean = Attitude(math.radians(args.camera_roll), math.radians(args.camera_pitch))
    localized = localize_image(
        args.image,
        args.lat,
        args.lon,
        args.heading,
        args.tiles,
        model_path(args.model),
        seed=args.seed,
        hypotheses=args.hypotheses,
        iterations=args.iterations,
        heading_error_deg=args.heading_error,
        position_error_m=args.position_error,
        intrinsics=read_calibration(args.calibration, rectified=args.rectified) if args.calibration else None,
        mounting=Mounting(lean=lean, height_m=args.camera_height),
        backend=options.backend_options(args),
        cache=options.tile_cache(args),
    )
    if args.out:
        write_image(args.out, draw_fix(localized.patch, localized.fix))
    result = localized.as_json()
    print(localized_text(result))
    if args.out:
        print(f"picture    {args.out}")
    options.write_json(args.json, result)
    return 0


def _looks_like_radians(heading: float) -> bool:
    """Whether a heading is within one turn in radians, and finer than people give degrees."""
    return abs(heading) < 2.0 * math.pi and not heading.is_integer()
