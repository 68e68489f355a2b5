"""`geoflow`: one function per subcommand; each imports what it needs when it runs, and hands over to the library.

Exit codes: 0 done; 2 bad input (one line on standard error); 1 a part of the system failed; 130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from geoflow_ros import __version__
from geoflow_ros.errors import GeoFlowError, InputError

if TYPE_CHECKING:
    from geoflow_ros.backends import BackendOptions

# Which extra brings a module that the run-time dependencies do not.
_EXTRA_OF_MODULE = {
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "openvino": "openvino",
    "tensorrt_rtx": "rtx",
    "cuda": "rtx",
    "safetensors": "train",
    "tensorboard": "train",
    "rclpy": "ros",
    "sensor_msgs": "ros",
    "nav_msgs": "ros",
    "geometry_msgs": "ros",
    "diagnostic_msgs": "ros",
    "std_srvs": "ros",
    "rcl_interfaces": "ros",
    "rosbags": "demo",
    "matplotlib": "plots",
}


# The synthetic source gives two frames and two patches of each place, combined.
_PAIRS_PER_GROUP = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except GeoFlowError as error:
        return _complain(f"geoflow {args.command}", str(error), getattr(error, "exit_code", 2))
    except ModuleNotFoundError as error:
        return _complain(f"geoflow {args.command}", _missing_extra(error), 2)
    except KeyboardInterrupt:
        return _complain(f"geoflow {args.command}", "interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone (`geoflow … | head`)
        sys.stderr.close()
        return 1


def localizer() -> int:
    """The executable `localizer`: the ROS node, or one line where ROS is not installed."""
    try:
        from geoflow_ros.ros.command import main as localizer_main

        return localizer_main()
    except ModuleNotFoundError as error:
        return _complain("localizer", _missing_extra(error), 2)


def command_demo(args: argparse.Namespace) -> int:
    """A vehicle drives, is localized, and the result is measured."""
    for module in ("rclpy", "rosbags", "matplotlib"):  # said now, not after a minute of rendering
        import_module(module)
    from geoflow_ros.evaluation.tables import drive_table
    from geoflow_ros.simulation.demo import DemoSettings, run_demo
    from geoflow_ros.world.pairs import Area

    settings = DemoSettings(
        seconds=args.seconds,
        seed=args.seed,
        area=Area(args.area),
        out=args.out,
        model=args.model,
        image_rate_hz=args.image_rate,
        progress=_progress(args),
    )
    result = run_demo(settings)
    print(drive_table(result.metrics))
    print()
    for path in result.files:
        print(path)
    _write_json(args.json, result.metrics)
    return 0


def command_localize(args: argparse.Namespace) -> int:
    """One image, one rough position: where exactly."""
    from geoflow_ros.evaluation.tables import localized_text
    from geoflow_ros.localization.single_image import localize_image
    from geoflow_ros.resources import model_path

    _, result = localize_image(
        args.image,
        args.lat,
        args.lon,
        args.heading,
        args.tiles,
        model_path(args.model),
        overlay_path=args.out,
        seed=args.seed,
        hypotheses=args.hypotheses,
        iterations=args.iterations,
        backend=_backend_options(args),
    )
    print(localized_text(result))
    if args.out:
        print(f"picture    {args.out}")
    _write_json(args.json, result)
    return 0


def command_train(args: argparse.Namespace) -> int:
    """Trains on ever new synthetic worlds."""
    from dataclasses import asdict

    from geoflow_ros.training.run import SyntheticTraining, train_synthetic

    options = SyntheticTraining(
        out=args.out,
        size=args.size,
        max_minutes=args.max_minutes if args.steps is None else None,
        steps=args.steps,
        session_minutes=args.session_minutes if args.steps is None else args.session_minutes or args.max_minutes,
        seed=args.seed,
        device=args.device,
        groups=None if args.batch_size is None else max(1, args.batch_size // _PAIRS_PER_GROUP),
        town_share=args.town_share,
        learning_rate=args.learning_rate,
        workers=args.workers,
        validate_every=args.validate_every,
        validation_pairs=args.validation_pairs,
        predict_orientation=args.orientation,
        pretrained=args.imagenet,
        init=args.checkpoint,
        resume=args.resume,
        extend=args.extend,
        float16_parts=args.float16_parts,
    )
    result = train_synthetic(options)
    error = "not validated" if result.best_error_m is None else f"best validation {result.best_error_m:.2f} m"
    state = "finished" if result.is_finished else "to be resumed with --resume"
    print(f"{result.step} steps, {result.pairs} pairs, {result.elapsed_s / 60:.1f} min, {error}, {state}")
    print(result.best_checkpoint or result.last_checkpoint)
    _write_json(args.json, {key: str(v) if isinstance(v, Path) else v for key, v in asdict(result).items()})
    return 0


def command_export(args: argparse.Namespace) -> int:
    """A checkpoint becomes a bundle, checked against it; a bundle gets TensorRT engines."""
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
    from geoflow_ros.bundle import CameraModel, IrsSettings
    from geoflow_ros.export import export_bundle
    from geoflow_ros.model.checkpoint import load_checkpoint

    if args.out is None:
        raise InputError("--out is missing: name a folder for the bundle, such as models/NAME")
    irs = IrsSettings(hypotheses=args.hypotheses, iterations=args.iterations, step=args.step)
    camera = None
    if args.horizontal_fov_deg is not None or args.aspect_ratio is not None:
        config = load_checkpoint(args.checkpoint).config
        aspect_ratio = args.aspect_ratio or config.ground_width_px / config.ground_height_px
        camera = CameraModel(config.camera_model, args.horizontal_fov_deg, aspect_ratio)
    return export_bundle(
        args.checkpoint, args.out, name=args.name, irs=irs, camera=camera, with_checkpoint=args.with_checkpoint
    )


def _export_engines(folder: Path, args: argparse.Namespace) -> list[Path]:
    from geoflow_ros.backends import Backend
    from geoflow_ros.bundle import Bundle, PrecisionCheck
    from geoflow_ros.bundle.precision import FEWEST_PAIRS, FLOAT16
    from geoflow_ros.evaluation.precision import compare
    from geoflow_ros.export.engines import export_engines

    if args.precision == FLOAT16 and args.pairs < FEWEST_PAIRS:
        raise InputError(f"--pairs is {args.pairs}; float16's check needs {FEWEST_PAIRS} at least")

    def check(candidate: Backend) -> PrecisionCheck:
        found = compare(Bundle.load(folder), candidate, args.pairs, progress=_progress(args))
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
        progress=_progress(args),
    )


def command_evaluate_synthetic(args: argparse.Namespace) -> int:
    """The figures of a bundle on the synthetic worlds."""
    from geoflow_ros.evaluation import synthetic
    from geoflow_ros.world.pairs import Area

    protocol = synthetic.Protocol(
        area=Area(args.area),
        pairs=args.pairs,
        seed=args.seed,
        heading=synthetic.heading_error(args.heading_error_deg, args.heading_uniform_deg),
    )
    report = synthetic.evaluate(
        args.model,
        protocol,
        hypotheses=args.hypotheses,
        iterations=args.iterations,
        ablation=args.ablation,
        baseline=args.baseline,
        backend=_backend_options(args),
        progress=_progress(args),
    )
    print(report.text())
    _write_json(args.json, report.as_json())
    if args.record:
        from geoflow_ros.evaluation.annotate import store_figures
        from geoflow_ros.resources import model_path

        store_figures(model_path(args.model), f"synthetic-{args.area}", report.summary())
    return 0


def command_evaluate_calibrate(args: argparse.Namespace) -> int:
    """Scale and floor of a bundle's covariance, fitted and written into its manifest."""
    from dataclasses import asdict

    from geoflow_ros.evaluation import synthetic
    from geoflow_ros.evaluation.annotate import store_calibration
    from geoflow_ros.resources import model_path
    from geoflow_ros.world.pairs import Area
    from geoflow_ros.world.splits import Split

    protocol = synthetic.Protocol(Area(args.area), args.pairs, args.seed, split=Split.CALIBRATION)
    calibration = synthetic.calibrate(args.model, protocol, progress=_progress(args))
    store_calibration(model_path(args.model), calibration)
    print(
        f"forward: {calibration.forward_scale:.2f} sigma and {calibration.forward_floor_m:.2f} m; "
        f"right: {calibration.right_scale:.2f} sigma and {calibration.right_floor_m:.2f} m ({calibration.data})"
    )
    _write_json(args.json, asdict(calibration))
    return 0


def command_evaluate_precision(args: argparse.Namespace) -> int:
    """Whether a reduced precision is accurate enough for a bundle."""
    from dataclasses import asdict

    from geoflow_ros.backends import open_backend
    from geoflow_ros.bundle import Bundle
    from geoflow_ros.evaluation.annotate import store_precision_check
    from geoflow_ros.evaluation.precision import compare
    from geoflow_ros.resources import model_path
    from geoflow_ros.world.pairs import Area

    bundle = Bundle.load(model_path(args.model))
    candidate = open_backend(bundle, _backend_options(args), checked=False)
    check = compare(bundle, candidate, args.pairs, args.seed, Area(args.area), progress=_progress(args))
    print(f"{'passed' if check.passes else 'failed'}: {check.describe()}")
    if args.record:
        store_precision_check(bundle.path, check)
    _write_json(args.json, {**asdict(check), "change": check.change, "passes": check.passes})
    return 0 if check.passes else 1


def command_evaluate_bag(args: argparse.Namespace) -> int:
    """The figures of a recorded drive with ground truth."""
    from geoflow_ros.evaluation.bag import Topics, drive_figures, read_drive
    from geoflow_ros.evaluation.tables import drive_table
    from geoflow_ros.visualization.drive import error_picture

    topics = Topics(truth=args.truth, odometry=args.odometry, fixes=args.fixes, track=args.track, image=args.image)
    record = read_drive(args.bag, topics)
    metrics = drive_figures(record)
    print(drive_table(metrics))
    if args.out:
        error_picture(record, args.out)
        print(f"\n{args.out}")
    _write_json(args.json, metrics)
    return 0


def command_evaluate_curves(args: argparse.Namespace) -> int:
    """The learning curves of training runs, as a picture."""
    from geoflow_ros.visualization.learning_curves import learning_curves

    learning_curves({run.resolve().name: run for run in args.runs}, args.out)
    print(args.out)
    return 0


def command_tiles_serve(args: argparse.Namespace) -> int:
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


def command_tiles_info(args: argparse.Namespace) -> int:
    """What a tile source says about itself."""
    from geoflow_ros.tiles import open_tile_source, tile_source_info

    source = open_tile_source(args.source)
    try:
        facts = tile_source_info(source)
    finally:
        source.close()
    for key, value in facts.items():
        print(f"{key:<20} {value}")
    _write_json(args.json, facts)
    return 0


def command_bench(args: argparse.Namespace) -> int:
    """How fast, how large and how soon ready the localizer is on this machine; or how fast the synthetic world is."""
    if args.renderer:
        return _bench_renderer(args)
    import shlex
    from dataclasses import replace

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
        progress=_progress(args),
    )
    settings = settings.quick() if args.quick else settings
    asked = ("frames", "authors_frames", "starts", "precision_pairs")
    chosen: dict[str, Any] = {name: getattr(args, name) for name in asked if getattr(args, name) is not None}
    result = run_bench(replace(settings, **chosen))
    print(text_of(result))
    _write_json(args.json, result)
    if args.out:
        sweep_picture(result, args.out / "sweep.png")
        print(f"\n{args.out / 'sweep.png'}")
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
    _write_json(args.json, result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="geoflow", description="Localize a camera on a satellite map: demo, training, export, evaluation, tiles."
    )
    parser.add_argument("--version", action="version", version=f"geoflow_ros {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_OneLineParser)
    _add_demo(commands)
    _add_localize(commands)
    _add_train(commands)
    _add_export(commands)
    _add_evaluate(commands)
    _add_tiles(commands)
    _add_bench(commands)
    return parser


def _add_demo(commands: Any) -> None:
    p = commands.add_parser("demo", help="a simulated vehicle drives through a city and is localized on its map")
    p.add_argument("--seconds", type=_positive_float, default=60.0, help="length of the drive, real time (default 60)")
    p.add_argument("--seed", type=_seed, default=1, help="which drive (default 1)")
    p.add_argument("--area", choices=("same", "cross"), default="same", help="the town of the training, or a new city")
    p.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for bag, metrics and pictures")
    p.add_argument("--model", help="bundle folder or name of a shipped one (default: the one for the area)")
    p.add_argument("--image-rate", type=_positive_float, default=5.0, help="camera frames a second (default 5)")
    _add_common(p)
    p.set_defaults(run=command_demo)


def _add_localize(commands: Any) -> None:
    p = commands.add_parser("localize", help="one camera image and a rough position in, latitude and longitude out")
    p.add_argument("--image", type=Path, required=True, help="camera image (PNG, JPEG, …)")
    p.add_argument("--lat", type=float, required=True, help="rough latitude, degrees")
    p.add_argument("--lon", type=float, required=True, help="rough longitude, degrees")
    p.add_argument("--heading", type=float, required=True, help="camera's compass heading, degrees from north")
    p.add_argument("--tiles", required=True, help="FILE.mbtiles, http(s)://…/{z}/{x}/{y}.png or file://…")
    p.add_argument("--model", default="synthetic", help="bundle folder or name of a shipped one (default synthetic)")
    p.add_argument("--out", type=Path, help="PNG: the patch with hypotheses, path and ellipse")
    p.add_argument("--hypotheses", type=_positive_int, help="N (default: the bundle's)")
    p.add_argument("--iterations", type=_positive_int, help="R (default: the bundle's)")
    p.add_argument("--seed", type=_seed, default=0, help="of the hypotheses (default 0)")
    _add_backend(p, "onnxruntime", "auto")
    _add_json(p)
    p.set_defaults(run=command_localize)


def _add_train(commands: Any) -> None:
    p = commands.add_parser("train", help="train on ever new synthetic worlds")
    p.add_argument("--dataset", choices=("synthetic",), default="synthetic", help="what to train on")
    p.add_argument("--out", type=Path, required=True, help="folder of the run")
    p.add_argument("--resume", action="store_true", help="go on with the run in --out; give the same settings again")
    p.add_argument("--extend", action="store_true", help="with --resume: with another length, such as a longer one")
    p.add_argument("--steps", type=_positive_int, help="length of the training")
    p.add_argument(
        "--max-minutes", type=_positive_float, help="length in time; with --steps, of one session (go on with --resume)"
    )
    p.add_argument("--session-minutes", type=_positive_float, help="stop after that long and go on with --resume")
    p.add_argument("--size", choices=("half", "full"), default="half", help="of the images (default half)")
    p.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    p.add_argument("--batch-size", type=_positive_int, help="pairs of a step (default: 32 on a CPU, 512 on a GPU)")
    p.add_argument("--learning-rate", type=_positive_float, help="at its peak (default: from the batch size)")
    p.add_argument("--town-share", type=_share, default=0.5, help="part of the worlds that are the fixed town")
    p.add_argument("--workers", type=_not_negative_int, help="processes that make worlds (default: from the machine)")
    p.add_argument("--orientation", action="store_true", help="train the orientation head too")
    p.add_argument("--seed", type=_seed, default=0, help="of weights, worlds and hypotheses (default 0)")
    p.add_argument("--checkpoint", type=Path, help="start from these weights")
    p.add_argument("--imagenet", type=Path, metavar="FILE", help="start both encoders from EfficientNet-B0 weights")
    p.add_argument("--validation-pairs", type=_positive_int, default=96, help="of each protocol (default 96)")
    p.add_argument("--validate-every", type=_positive_int, help="steps")
    p.add_argument("--float16-parts", action="store_true", help="also as float16, at most 16 MB a file")
    _add_json(p)
    p.set_defaults(run=command_train)


def _add_export(commands: Any) -> None:
    p = commands.add_parser("export", help="a checkpoint becomes a model bundle (ONNX and manifest)")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="ours (.safetensors, folder) or the authors' (.pth)")
    source.add_argument("--bundle", help="an exported bundle (folder or name), to add engines to")
    p.add_argument("--out", type=Path, help="folder of the bundle, such as models/NAME; with --bundle of the engines")
    p.add_argument("--name", help="of the model (default: the folder's name)")
    p.add_argument(
        "--with-checkpoint", action="store_true", help="also the weights (float16), to train on and for torch"
    )
    p.add_argument("--hypotheses", type=_positive_int, default=10, help="default N of the bundle (default 10)")
    p.add_argument("--iterations", type=_positive_int, default=5, help="default R of the bundle (default 5)")
    p.add_argument("--step", type=_positive_float, default=0.5, help="default step of the bundle (default 0.5)")
    p.add_argument("--horizontal-fov-deg", type=_positive_float, help="of the camera of the training")
    p.add_argument("--aspect-ratio", type=_positive_float, help="of its images, if they were squeezed (KITTI: 3.312)")
    engines = p.add_argument_group("TensorRT engines")
    engines.add_argument("--tensorrt", action="store_true", help="also build engines, into the bundle's engines/")
    engines.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="of the encoders (default fp32)")
    engines.add_argument(
        "--compute-capability", nargs="+", default=[], metavar="SM", help="GPUs, such as sm86 (default: the one here)"
    )
    engines.add_argument("--workspace", type=_positive_int, default=256, metavar="MiB", help="limit (default 256)")
    engines.add_argument("--pairs", type=_positive_int, default=512, help="of float16's check (default 512)")
    engines.add_argument("--verbose", action="store_true", help="say what TensorRT does")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(run=command_export)


def _add_evaluate(commands: Any) -> None:
    p = commands.add_parser("evaluate", help="measure a model, a recorded drive or a training run")
    kinds = p.add_subparsers(dest="kind", required=True, metavar="WHAT", parser_class=_OneLineParser)

    s = kinds.add_parser("synthetic", help="a bundle on pairs of the synthetic worlds")
    s.add_argument("--area", choices=("same", "cross"), required=True, help="the town of the training, or new cities")
    s.add_argument("--model", default="synthetic", help="bundle folder or name of a shipped one (default synthetic)")
    s.add_argument("--pairs", type=_positive_int, default=2000, help="how many pairs (default 2000)")
    s.add_argument("--seed", type=_seed, default=0, help="which pairs; with --area cross also which cities (default 0)")
    s.add_argument("--hypotheses", type=_positive_int, help="N (default: the bundle's)")
    s.add_argument("--iterations", type=_positive_int, help="R (default: the bundle's)")
    heading = s.add_mutually_exclusive_group()
    heading.add_argument("--heading-error-deg", type=_not_negative_float, help="sigma of the heading error (default 2)")
    heading.add_argument("--heading-uniform-deg", type=_not_negative_float, help="uniform in ± this instead")
    s.add_argument("--ablation", action="store_true", help="also the tables over N, R and step")
    s.add_argument("--baseline", action="store_true", help="also bird's-eye template matching and the patch's centre")
    s.add_argument("--record", action="store_true", help="write the figures into the bundle's manifest")
    _add_backend(s, "onnxruntime", "auto")
    _add_common(s)
    s.set_defaults(run=command_evaluate_synthetic)

    k = kinds.add_parser("calibrate", help="fit a bundle's covariance on held-out pairs; writes its manifest")
    k.add_argument("--model", required=True, help="bundle folder or name of a shipped one")
    k.add_argument("--area", choices=("same", "cross"), default="cross", help="whose pairs (default cross)")
    k.add_argument("--pairs", type=_positive_int, default=1000, help="how many (default 1000)")
    k.add_argument("--seed", type=_seed, default=0, help="which (default 0)")
    _add_common(k)
    k.set_defaults(run=command_evaluate_calibrate)

    r = kinds.add_parser("precision", help="whether bfloat16 or float16 is accurate enough (exit code 1: no)")
    r.add_argument("--model", default="synthetic", help="bundle folder or name of a shipped one (default synthetic)")
    r.add_argument("--pairs", type=_positive_int, default=512, help="how many of the calibration's (default 512)")
    r.add_argument("--area", choices=("same", "cross"), default="cross", help="whose pairs (default cross)")
    r.add_argument("--seed", type=_seed, default=0, help="which (default 0)")
    r.add_argument("--record", action="store_true", help="write the check into the bundle's manifest")
    _add_backend(r, "openvino", "bf16")
    _add_common(r)
    r.set_defaults(run=command_evaluate_precision)

    b = kinds.add_parser("bag", help="a recorded drive with ground truth (MCAP or SQLite bag)")
    from geoflow_ros.evaluation.bag import Topics

    topics = Topics()
    b.add_argument("bag", type=Path, help="the bag's folder or .mcap file")
    for name, what in (
        ("truth", "true odometry in the map frame"),
        ("odometry", "the vehicle's odometry"),
        ("fixes", "published poses"),
        ("track", "tracked odometry in the map frame"),
        ("image", "camera images"),
    ):
        default = getattr(topics, name)
        b.add_argument(f"--{name}", default=default, metavar="TOPIC", help=f"{what} (default {default})")
    b.add_argument("--out", type=Path, help="PNG: error over time with 95 %% bounds")
    _add_json(b)
    b.set_defaults(run=command_evaluate_bag)

    c = kinds.add_parser("curves", help="learning curves of training runs")
    c.add_argument("runs", type=Path, nargs="+", help="folders with metrics.jsonl")
    c.add_argument("--out", type=Path, required=True, help="the PNG to write")
    c.set_defaults(run=command_evaluate_curves)


def _add_tiles(commands: Any) -> None:
    p = commands.add_parser("tiles", help="serve or describe a tile source")
    actions = p.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_OneLineParser)
    s = actions.add_parser("serve", help="XYZ tiles over HTTP, for the demo and for RViz")
    s.add_argument("source", help="FILE.mbtiles or another tile source")
    s.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    s.add_argument("--port", type=_port, default=8000, help="default 8000; 0 takes a free one")
    s.set_defaults(run=command_tiles_serve)
    i = actions.add_parser("info", help="name, zoom levels and bounds")
    i.add_argument("source", help="FILE.mbtiles, http(s)://…/{z}/{x}/{y}.png or file://…")
    _add_json(i)
    i.set_defaults(run=command_tiles_info)


def _add_bench(commands: Any) -> None:
    p = commands.add_parser("bench", help="speed, memory and start of every back end on this machine")
    p.add_argument("--model", default="synthetic", help="bundle folder or name of a shipped one (default synthetic)")
    p.add_argument(
        "--size",
        choices=("model", "half", "full"),
        default="model",
        help="image size: the model's own (default), or its weights in graphs of another (speed only; extra [train])",
    )
    p.add_argument("--hypotheses", type=_positive_int, default=10, help="N (default 10)")
    p.add_argument("--iterations", type=_positive_int, default=5, help="R (default 5)")
    p.add_argument(
        "--backend", action="append", metavar="NAME", help="such as 'openvino bf16'; may be repeated (default: all)"
    )
    p.add_argument("--threads", type=_positive_int, help="of the CPU back ends (default: their own choice)")
    p.add_argument("--frames", type=_positive_int, help="to time with each back end (default 200; renderer 40)")
    p.add_argument(
        "--authors-frames",
        type=_not_negative_int,
        help="whole frames in the authors' way, both images encoded N x R times; 0: a part of one (default 1)",
    )
    p.add_argument("--starts", type=_not_negative_int, help="fresh processes a back end, after a first (default 3)")
    p.add_argument("--soak", type=_not_negative_int, default=0, help="frames of the memory test (default 0: none)")
    p.add_argument(
        "--precision-pairs", type=_not_negative_int, help="of the check of reduced precisions (default 512; 0: none)"
    )
    p.add_argument("--quick", action="store_true", help="everything in a few seconds, with figures to match")
    p.add_argument("--out", type=Path, metavar="DIR", help="also draw cost against N and R, as DIR/sweep.png")
    p.add_argument("--renderer", action="store_true", help="measure the synthetic world's camera and map instead")
    _add_common(p)
    p.set_defaults(run=command_bench)


def _add_backend(p: argparse.ArgumentParser, backend: str, precision: str) -> None:
    """The options of `BackendOptions`; its lists are imported late, as everything else here."""
    backends, precisions = "auto, tensorrt, openvino, onnxruntime or torch", "auto, fp32, bf16 or fp16"
    p.add_argument("--backend", default=backend, help=f"what runs the model: {backends} (default {backend})")
    p.add_argument("--precision", default=precision, help=f"of the encoders: {precisions} (default {precision})")
    p.add_argument("--threads", type=_positive_int, help="of the encoders on a CPU (default: the back end's choice)")
    p.add_argument("--device", default="cuda:0", help="of TensorRT and torch (default cuda:0)")


def _backend_options(args: argparse.Namespace) -> "BackendOptions":
    from geoflow_ros.backends import BackendOptions

    return BackendOptions(args.backend, args.precision, args.threads, device=args.device)


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")


class _OneLineParser(argparse.ArgumentParser):
    """Answers bad arguments with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _complain(who: str, message: str, exit_code: int) -> int:
    print(f"{who}: {message}", file=sys.stderr)
    return exit_code


def _missing_extra(error: ModuleNotFoundError) -> str:
    """What to install for a module that is missing; raises the error again if no extra brings it."""
    module = (error.name or "").split(".")[0]
    if module not in _EXTRA_OF_MODULE:
        raise error
    return f"{module} is not installed: pip install 'geoflow_ros[{_EXTRA_OF_MODULE[module]}]'"


def _progress(args: argparse.Namespace) -> bool:
    """Bars are drawn on terminals alone: tqdm sees to that."""
    return not args.quiet


def _write_json(path: Path | None, content: Any) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _positive_int(text: str) -> int:
    value = _number(text, int)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(value)


def _not_negative_int(text: str) -> int:
    value = _number(text, int)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return int(value)


def _seed(text: str) -> int:
    value = _number(text, int)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to 2147483647, not {text}")
    return int(value)


def _port(text: str) -> int:
    value = _number(text, int)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text}")
    return int(value)


def _positive_float(text: str) -> float:
    value = _number(text, float)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return float(value)


def _not_negative_float(text: str) -> float:
    value = _number(text, float)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return float(value)


def _share(text: str) -> float:
    value = _number(text, float)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not {text}")
    return float(value)


def _number(text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"'{text}' is not a {what}") from None


if __name__ == "__main__":
    sys.exit(main())
