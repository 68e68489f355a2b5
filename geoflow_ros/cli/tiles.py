"""`geoflow tiles`: fetches, serves, describes or shows a tile source."""

import argparse
import re
import sys
from pathlib import Path

from geoflow_ros.cli import options
from geoflow_ros.cli.parser import CommandParser, Number

_TERMS = "the operator's terms must allow that machines store and use the tiles: several commercial providers forbid it"


def add_options(parser: CommandParser) -> None:
    """Adds the commands of this group."""
    actions = parser.add_commands("action", "ACTION")
    actions.add_parser("info", help="what a source says and what it holds", add_options=_add_info)
    actions.add_parser("fetch", help="the tiles of an area into an MBTiles file", add_options=_add_fetch)
    actions.add_parser("preview", help="the patch that the network would see at a place", add_options=_add_preview)
    actions.add_parser("serve", help="XYZ tiles over HTTP, for the demo and for RViz", add_options=_add_serve)


def _add_serve(parser: CommandParser) -> None:
    parser.description = "Serves a tile source as XYZ tiles over HTTP, until Ctrl-C."
    port = Number(int, at_least=0, at_most=65535, metavar="PORT")
    parser.add_argument("source", help=options.TILES_HELP)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on, :: for all (default 127.0.0.1: this machine)"
    )
    parser.add_argument("--port", type=port, default=8000, help="port to listen on; 0 takes a free one (default 8000)")
    options.add_tile_cache(parser)
    parser.set_defaults(run=serve)


def _add_info(parser: CommandParser) -> None:
    parser.description = "Says what a tile source tells about itself and what it holds, and what is odd about it."
    parser.add_argument("source", help=options.TILES_HELP)
    options.add_tile_cache(parser)
    options.add_json(parser)
    parser.set_defaults(run=info)


def _add_fetch(parser: CommandParser) -> None:
    parser.description = (
        "Fetches the tiles of an area into an MBTiles file, for a mission without a network. What is in the file "
        f"already is not fetched again: a run may be ended and begun again. Mind that {_TERMS}."
    )
    edge = Number(float, at_least=-180, at_most=180, unit="degrees", metavar="DEG")
    parser.add_argument("source", help=options.TILES_HELP)
    parser.add_argument("out", type=Path, metavar="OUT.mbtiles", help="file to write, or to go on with")
    parser.add_argument(
        "--bbox", nargs=4, type=edge, required=True, metavar=("W", "S", "E", "N"), help="the area's edges, degrees"
    )
    parser.add_argument("--zoom", type=_zooms, required=True, metavar="Z[-Z]", help="zooms, such as 19 or 17-19")
    parser.add_argument(
        "--rate", type=options.POSITIVE, default=10.0, help="most requests to a server in a second; files have no limit"
    )
    options.add_quiet(parser)
    options.add_json(parser)
    parser.set_defaults(run=fetch)


def _add_preview(parser: CommandParser) -> None:
    parser.description = (
        "Draws the patch that the network would see of a vehicle: forward to the right, with the camera's wedge and a "
        "scale bar, and says how much of it shows ground."
    )
    latitude = Number(float, at_least=-90, at_most=90, unit="degrees", metavar="DEG")
    longitude = Number(float, at_least=-180, at_most=180, unit="degrees", metavar="DEG")
    heading = Number(float, at_least=-360, at_most=360, unit="degrees clockwise from north", metavar="DEG")
    parser.add_argument("source", help=options.TILES_HELP)
    parser.add_argument("--lat", type=latitude, required=True, help="latitude, degrees (WGS84)")
    parser.add_argument("--lon", type=longitude, required=True, help="longitude, degrees (WGS84)")
    parser.add_argument("--heading", type=heading, default=0.0, help="of the camera, degrees clockwise from north")
    parser.add_argument("--out", type=Path, default=Path("preview.png"), metavar="PNG", help="picture to write")
    options.add_tile_cache(parser)
    options.add_model(parser)
    options.add_json(parser)
    parser.set_defaults(run=preview)


def _zooms(text: str) -> tuple[int, ...]:
    match = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", text)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is no zoom or range of zooms, such as 19 or 17-19")
    return tuple(range(int(match[1]), int(match[2] or match[1]) + 1))


def serve(args: argparse.Namespace) -> int:
    """A tile source over HTTP, until Ctrl-C."""
    from geoflow_ros.tiles import TileServer, open_tile_source

    source = open_tile_source(args.source, cache=options.tile_cache(args))
    try:
        server = TileServer(source, host=args.host, port=args.port)
        print(f"{source.name}: {server.url} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:  # the way to end it
        pass
    finally:
        source.close()
    return 0


def info(args: argparse.Namespace) -> int:
    """What a tile source says about itself, and holds."""
    from geoflow_ros.tiles import open_tile_source, tile_source_info

    source = open_tile_source(args.source, cache=options.tile_cache(args))
    try:
        facts = tile_source_info(source)
    finally:
        source.close()
    for key, value in facts.items():
        print(f"{key:<20} {value}")
    options.write_json(args.json, facts)
    return 0


def fetch(args: argparse.Namespace) -> int:
    """The tiles of an area into a file."""
    from dataclasses import asdict
    from math import inf

    from geoflow_ros.geo import GeoBounds
    from geoflow_ros.progress import progress_bar
    from geoflow_ros.tiles import FetchReport, XyzSource, count_tiles, fetch_tiles, open_tile_source

    bounds = GeoBounds(*args.bbox)
    source = open_tile_source(args.source)
    is_server, total = isinstance(source, XyzSource), count_tiles(bounds, args.zoom)
    if is_server:
        print(f"geoflow tiles fetch: {_TERMS}", file=sys.stderr)
    try:
        with progress_bar(total, "fetching", "tiles", is_shown=not args.quiet) as bar:

            def show(report: FetchReport) -> None:
                bar.advance_to(report.done)

            report = fetch_tiles(source, args.out, bounds, args.zoom, args.rate if is_server else inf, show)
    finally:
        source.close()
    facts = asdict(report)
    for key, value in facts.items():
        print(f"{key:<20} {value}")
    options.write_json(args.json, facts)
    return 0


def preview(args: argparse.Namespace) -> int:
    """The patch at a place."""
    from geoflow_ros.bundle import Bundle
    from geoflow_ros.geo import Datum, yaw_from_heading_deg
    from geoflow_ros.images import write_image
    from geoflow_ros.resources import model_path
    from geoflow_ros.tiles import SatelliteMap, open_tile_source
    from geoflow_ros.visualization import draw_patch

    manifest = Bundle.load(model_path(args.model)).manifest
    frame = manifest.patch_frame(0.0, 0.0, float(yaw_from_heading_deg(args.heading)))
    source = open_tile_source(args.source, cache=options.tile_cache(args))
    try:
        with SatelliteMap(source, Datum(args.lat, args.lon)) as satellite_map:
            patch = satellite_map.patch(frame)
            facts = {
                "zoom": satellite_map.zoom_for(frame),
                "tile_size": satellite_map.tile_size(satellite_map.zoom_for(frame)),
                "patch_m": frame.extent_m,
                "ground_share": round(patch.ground_share, 3),
                "no_ground": {kind.words: round(share, 3) for kind, share in patch.shares_without_ground.items()},
            }
    finally:
        source.close()
    write_image(args.out, draw_patch(patch, manifest.camera.horizontal_fov_deg))
    for key, value in facts.items():
        print(f"{key:<20} {value}")
    print(f"{'picture':<20} {args.out}")
    options.write_json(args.json, facts)
    return 0
