"""`geoflow bench`: how fast, how large and how soon ready the localizer is on this machine."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from geoflow_ros.cli import options
from geoflow_ros.cli.options import COUNT, COUNT_OR_NONE
from geoflow_ros.cli.parser import CommandParser


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Measures speed, memory and start of every back end that runs on this machine, on frames of a synthetic world."
    )
    options.add_model(parser)
    parser.add_argument(
        "--size",
        choices=("model", "half", "full"),
        default="model",
        help="image size: the model's own, or its weights in graphs of another (speed only; extra [train])",
    )
    options.add_irs(parser, hypotheses=10, iterations=5)
    parser.add_argument(
        "--backend", action="append", metavar="NAME", help="such as 'openvino bf16'; may be repeated (default: all)"
    )
    parser.add_argument("--threads", type=COUNT, help="of the CPU back ends (default: their own choice)")
    parser.add_argument("--frames", type=COUNT, help="to time with each back end (default 200; renderer 40)")
    parser.add_argument(
        "--authors-frames",
        type=COUNT_OR_NONE,
        help="whole frames in the authors' way, both images encoded N x R times; 0: a part of one (default 1)",
    )
    parser.add_argument("--starts", type=COUNT_OR_NONE, help="fresh processes a back end, after a first (default 3)")
    parser.add_argument("--soak", type=COUNT_OR_NONE, default=0, help="frames of the memory test; 0: none")
    parser.add_argument(
        "--precision-pairs",
        type=COUNT_OR_NONE,
        help="image pairs of the check of reduced precisions; 0: none (default 512)",
    )
    parser.add_argument("--quick", action="store_true", help="everything in a few seconds, with figures to match")
    parser.add_argument("--renderer", action="store_true", help="measure the synthetic world's camera and map instead")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also draw cost against N and R, as DIR/sweep.png")
    options.add_json(parser)
    options.add_quiet(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures the localizer, or the renderer."""
    if args.renderer:
        return _bench_renderer(args)
    import shlex
    from dataclasses import replace

    from geoflow_ros.bundle import Bundle
    from geoflow_ros.bundle.methods import BIRDS_EYE
    from geoflow_ros.resources import model_path

    if Bundle.load(model_path(args.model)).manifest.method == BIRDS_EYE:
        return _bench_birds_eye(args)
    from geoflow_ros.bench.report import sweep_picture, text_of
    from geoflow_ros.bench.run import BenchSettings, run_bench

    if args.out:
        import_module("matplotlib")  # said now, not after minutes of measuring
    settings = BenchSettings(
        model=args.model,
        size=args.size,
        hypotheses=args.hypotheses,
        iterations=args.iterations,
        candidates=tuple(args.backend or ()),
        threads=args.threads,
        soak=args.soak,
        command=shlex.join(["geoflow", *sys.argv[1:]]),
        progress=not args.quiet,
    )
    settings = settings.quick() if args.quick else settings
    asked = ("frames", "authors_frames", "starts", "precision_pairs")
    chosen: dict[str, Any] = {name: getattr(args, name) for name in asked if getattr(args, name) is not None}
    result = run_bench(replace(settings, **chosen))
    print(text_of(result))
    options.write_json(args.json, result)
    if args.out:
        sweep_picture(result, args.out / "sweep.png")
        print(f"\n{args.out / 'sweep.png'}")
    return 0


def _bench_birds_eye(args: argparse.Namespace) -> int:
    import shlex

    from geoflow_ros.bench.birds_eye import BirdsEyeBench, bench_birds_eye, cost_picture, text_of
    from geoflow_ros.errors import InputError

    others = ("authors_frames", "starts", "soak", "precision_pairs")
    given = [name for name in others if getattr(args, name)] + (["size"] if args.size != "model" else [])
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} is for GeoFlow's models; '{args.model}' is a bird's-eye one")
    if args.out:
        import_module("matplotlib")  # said now, not after minutes of measuring
    settings = BirdsEyeBench(
        model=args.model,
        runners=tuple(args.backend or ()),
        threads=args.threads,
        frames=args.frames or (2 if args.quick else 100),
        command=shlex.join(["geoflow", *sys.argv[1:]]),
        progress=not args.quiet,
    )
    result = bench_birds_eye(settings)
    print(text_of(result))
    options.write_json(args.json, result)
    if args.out:
        cost_picture(result, args.out / "cost.png")
        print(f"\n{args.out / 'cost.png'}")
    return 0


def _bench_renderer(args: argparse.Namespace) -> int:
    import os

    from geoflow_ros.bench.renderer import RENDERED_FRAMES, bench_renderer
    from geoflow_ros.evaluation.tables import table

    result = bench_renderer(args.frames or RENDERED_FRAMES, args.threads or os.cpu_count() or 1)
    sizes = [name for name, value in result.items() if isinstance(value, dict)]
    rows = [
        [f"{name}: {result[name]['ground'][0]} x {result[name]['ground'][1]}, patch {result[name]['satellite']}"]
        + [f"{result[name][key]:.1f}" for key in ("frames_per_second", "patches_per_second")]
        for name in sizes
    ]
    print(table(["images", "frames/s", "patches/s"], rows))
    print(f"{result['threads']} threads; a window of a city is made in {result['bake_s']:.1f} s")
    options.write_json(args.json, result)
    return 0
