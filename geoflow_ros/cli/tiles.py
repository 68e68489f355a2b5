"""`geoflow tiles`: serves a tile source, or says what it holds."""

import argparse

from geoflow_ros.cli import options
from geoflow_ros.cli.parser import CommandParser, Number


def add_options(parser: CommandParser) -> None:
    """Adds the two commands of this group."""
    actions = parser.add_commands("action", "ACTION")
    actions.add_parser("serve", help="XYZ tiles over HTTP, for the demo and for RViz", add_options=_add_serve)
    actions.add_parser("info", help="name, zoom levels and bounds", add_options=_add_info)


def _add_serve(parser: CommandParser) -> None:
    parser.description = "Serves a tile source as XYZ tiles over HTTP, until Ctrl-C."
    port = Number(int, at_least=0, at_most=65535, metavar="PORT")
    parser.add_argument("source", help=options.TILES_HELP)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    parser.add_argument("--port", type=port, default=8000, help="port to listen on; 0 takes a free one (default 8000)")
    parser.set_defaults(run=serve)


def _add_info(parser: CommandParser) -> None:
    parser.description = "Says what a tile source tells about itself: name, zoom levels and bounds."
    parser.add_argument("source", help=options.TILES_HELP)
    options.add_json(parser)
    parser.set_defaults(run=info)


def serve(args: argparse.Namespace) -> int:
    """A tile source over HTTP, until Ctrl-C."""
    from geoflow_ros.tiles import TileServer, open_tile_source

    source = open_tile_source(args.source)
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
    """What a tile source says about itself."""
    from geoflow_ros.tiles import open_tile_source, tile_source_info

    source = open_tile_source(args.source)
    try:
        facts = tile_source_info(source)
    finally:
        source.close()
    for key, value in facts.items():
        print(f"{key:<20} {value}")
    options.write_json(args.json, facts)
    return 0
