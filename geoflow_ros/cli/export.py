"""`geoflow export`: a checkpoint becomes a bundle, checked against it; a bundle gets TensorRT engines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from geoflow_ros.cli import options
from geoflow_ros.cli.options import COUNT, POSITIVE
from geoflow_ros.cli.parser import CommandParser
from geoflow_ros.errors import InputError

if TYPE_CHECKING:
    from geoflow_ros.backends import Backend
    from geoflow_ros.bundle import CameraModel, PrecisionCheck


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Turns a checkpoint into a model bundle (a folder with ONNX graphs and a manifest) and checks the one against "
        "the other; adds TensorRT engines to a bundle. Needs the extra [train], for engines [rtx] or [tensorrt]."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="ours (.safetensors, folder) or the authors' (.pth)")
    source.add_argument("--bundle", help="an exported bundle (folder or name), to add engines to")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="of the bundle, such as models/NAME; with --bundle of the engines"
    )
    parser.add_argument("--name", help="of the model (default: the folder's name)")
    parser.add_argument("--with-checkpoint", action="store_true", help="also the weights (float16), for torch")
    options.add_irs(parser, hypotheses=10, iterations=5)
    parser.add_argument("--step", type=POSITIVE, default=0.5, help="share of a displacement that a refinement takes")
    parser.add_argument(
        "--horizontal-fov-deg", type=POSITIVE, metavar="DEG", help="of the training's camera (default: not known)"
    )
    parser.add_argument(
        "--aspect-ratio", type=POSITIVE, help="of its images, if they were squeezed, as KITTI's 3.312 (default: no)"
    )
    options.add_quiet(parser)
    engines = parser.add_argument_group("TensorRT engines")
    engines.add_argument("--tensorrt", action="store_true", help="also build engines, into the bundle's engines/")
    engines.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="of the encoders")
    engines.add_argument(
        "--compute-capability", nargs="+", default=[], metavar="SM", help="GPUs, such as sm86 (default: the one here)"
    )
    engines.add_argument("--workspace", type=COUNT, default=256, metavar="MiB", help="memory limit of the builder")
    engines.add_argument("--pairs", type=COUNT, default=512, help="image pairs of float16's check")
    engines.add_argument("--verbose", action="store_true", help="say what TensorRT does")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exports, then builds."""
    from geoflow_ros.resources import model_path

    if args.bundle is None:
        folder = _export_checkpoint(args)
        print(folder)
    else:
        folder = model_path(args.bundle)
        if not args.tensorrt:
            raise InputError("nothing to do for an exported bundle: add --tensorrt")
    if args.tensorrt:
        for path in _export_engines(folder, args):
            print(path)
    return 0


def _export_checkpoint(args: argparse.Namespace) -> Path:
    from geoflow_ros.bundle import IrsSettings
    from geoflow_ros.export import export_bundle

    if args.out is None:
        raise InputError("--out is missing: name a folder for the bundle, such as models/NAME")
    return export_bundle(
        args.checkpoint,
        args.out,
        name=args.name,
        irs=IrsSettings(hypotheses=args.hypotheses, iterations=args.iterations, step=args.step),
        camera=_camera(args),
        with_checkpoint=args.with_checkpoint,
    )


def _camera(args: argparse.Namespace) -> CameraModel | None:
    """The camera of the training where an option describes it; else the checkpoint's is taken."""
    from geoflow_ros.bundle import CameraModel
    from geoflow_ros.model.checkpoint import load_checkpoint

    if args.horizontal_fov_deg is None and args.aspect_ratio is None:
        return None
    config = load_checkpoint(args.checkpoint).config
    aspect_ratio = args.aspect_ratio or config.ground_width_px / config.ground_height_px
    return CameraModel(config.camera_model, args.horizontal_fov_deg, aspect_ratio)


def _export_engines(folder: Path, args: argparse.Namespace) -> list[Path]:
    from geoflow_ros.bundle import Bundle
    from geoflow_ros.bundle.precision import FEWEST_PAIRS, FLOAT16
    from geoflow_ros.evaluation.precision import compare
    from geoflow_ros.export.engines import export_engines

    if args.precision == FLOAT16 and args.pairs < FEWEST_PAIRS:
        raise InputError(f"--pairs is {args.pairs}; float16's check needs {FEWEST_PAIRS} at least")

    def check(candidate: Backend) -> PrecisionCheck:
        found = compare(Bundle.load(folder), candidate, args.pairs, progress=not args.quiet)
        print(f"{'passed' if found.passes else 'failed'}: {found.describe()}")
        return found

    return export_engines(
        folder,
        precision=args.precision,
        compute_capabilities=args.compute_capability,
        workspace_mib=args.workspace,
        out=args.out if args.bundle is not None else None,
        check=check,
        verbose=args.verbose,
        progress=not args.quiet,
    )
