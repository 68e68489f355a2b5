"""Options that several commands share, and what they become."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoflow_ros.cli.parser import CommandParser, Number
from geoflow_ros.errors import InputError
from geoflow_ros.resources import DEFAULT_MODEL

if TYPE_CHECKING:
    from geoflow_ros.backends import BackendOptions
    from geoflow_ros.tiles import CacheSettings
    from geoflow_ros.world.orthophoto_windows import Orthophotos

COUNT = Number(int, at_least=1)
COUNT_OR_NONE = Number(int, at_least=0)
SEED = Number(int, at_least=0, at_most=2**31 - 1)
POSITIVE = Number(float, above=0, metavar="X")
MINUTES = Number(float, above=0, metavar="MINUTES")
DEGREES_OR_NONE = Number(float, at_least=0, metavar="DEG")

AREAS = ("same", "cross")
LOCALIZERS = ("geoflow", "birds_eye")
CONDITIONS = ("easy", "road", "hard")
MODEL_HELP = "bundle: its folder, or the name of a shipped one"
CACHE_VARIABLE = "GEOFLOW_TILE_CACHE"
"""The environment variable that stands for --cache-folder."""

TILES_HELP = "FILE.mbtiles, FILE.pmtiles, FILE.tif, http(s)://…/{z}/{x}/{y}.png, TileJSON, WMTS, WMS or file://…"


def add_model(parser: CommandParser, default: str = DEFAULT_MODEL) -> None:
    """Adds --model with a shipped bundle as its default."""
    parser.add_argument("--model", default=default, help=MODEL_HELP)


def add_irs(parser: CommandParser, hypotheses: int | None = None, iterations: int | None = None) -> None:
    """Adds --hypotheses and --iterations; without a default those of the bundle are taken."""
    for name, default, what in (
        ("--hypotheses", hypotheses, "N: hypotheses of the position"),
        ("--iterations", iterations, "R: refinements of each"),
    ):
        told = what if default is not None else f"{what} (default: the bundle's)"
        parser.add_argument(name, type=COUNT, default=default, help=told)


def add_backend(parser: CommandParser, backend: str, precision: str) -> None:
    """Adds the options of `BackendOptions`; its lists are not imported, as nothing heavy is here."""
    group = parser.add_argument_group("what runs the model")
    group.add_argument("--backend", default=backend, help="auto, tensorrt, openvino, onnxruntime or torch")
    group.add_argument("--precision", default=precision, help="of the encoders: auto, fp32, bf16 or fp16")
    group.add_argument("--threads", type=COUNT, help="of the encoders on a CPU (default: the back end's choice)")
    group.add_argument("--device", default="cuda:0", help="of TensorRT and torch")


def backend_options(args: argparse.Namespace) -> BackendOptions:
    """What the options of `add_backend` were given."""
    from geoflow_ros.backends import BackendOptions

    return BackendOptions(args.backend, args.precision, args.threads, device=args.device)


def add_conditions(parser: argparse._ActionsContainer, of: str, default: str = "easy") -> None:
    """Adds --conditions."""
    parser.add_argument(
        "--conditions",
        choices=CONDITIONS,
        default=default,
        help=f"of {of}: flat ground and an exact camera (easy), an ordinary day (road), or the tail of it (hard); "
        f"default {default}",
    )


def add_quiet(parser: CommandParser) -> None:
    """Adds --quiet."""
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def add_json(parser: CommandParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")


def add_tile_cache(parser: argparse._ActionsContainer) -> None:
    """Adds --cache-folder and --offline."""
    parser.add_argument(
        "--cache-folder",
        type=Path,
        metavar="FOLDER",
        help=f"keeps what servers answer there, as tiles.cache_folder does (default: ${CACHE_VARIABLE}, else nowhere)",
    )
    parser.add_argument("--offline", action="store_true", help="never asks a server: shows what is in --cache-folder")


def tile_cache(args: argparse.Namespace) -> CacheSettings | None:
    """Where the options, or else the environment, say that servers' tiles are kept.

    Raises:
        InputError: --offline without a folder.
    """
    folder = args.cache_folder or os.environ.get(CACHE_VARIABLE, "")
    if not folder:
        if args.offline:
            raise InputError(f"--offline needs --cache-folder (or {CACHE_VARIABLE}), where tiles were kept")
        return None
    from geoflow_ros.tiles import CacheSettings

    return CacheSettings(Path(folder), offline=args.offline)


def add_orthophotos(parser: argparse._ActionsContainer, what: str) -> None:
    """Adds --orthophotos."""
    parser.add_argument(
        "--orthophotos", metavar="FOLDER|TILES", help=f"{what}: a folder with index.json, or {TILES_HELP}"
    )


def add_held_out(parser: argparse._ActionsContainer) -> None:
    """Adds --held-out."""
    parser.add_argument(
        "--held-out",
        nargs="+",
        metavar="CITY",
        help="cities of orthophotos that training never sees and evaluation is on (default: santa_monica and chico; "
        "of a tile source its east)",
    )


def orthophotos(args: argparse.Namespace, share: float = 1.0) -> Orthophotos | None:
    """The orthophotos that the options ask for, with a line on standard error for each that is skipped.

    Raises:
        InputError: --held-out without --orthophotos, or a collection that cannot be used.
    """
    if args.orthophotos is None:
        if args.held_out is not None:
            raise InputError("--held-out is about --orthophotos: give both, or neither")
        return None
    from geoflow_ros.world.orthophoto_squares import DEFAULT_HELD_OUT, open_collection
    from geoflow_ros.world.orthophoto_windows import Orthophotos

    collection = open_collection(args.orthophotos)
    for line in collection.skipped:
        print(line, file=sys.stderr)
    if collection.skipped:
        print(f"{collection.name}: {len(collection.skipped)} squares skipped", file=sys.stderr)
    held_out = DEFAULT_HELD_OUT if args.held_out is None else tuple(args.held_out)
    return Orthophotos(args.orthophotos, share, held_out)


def write_json(path: Path | None, content: Any) -> None:
    """Writes what --json asks for; nothing where it was not given.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
