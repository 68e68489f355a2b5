"""`geoflow evaluate`: measures a model, a recorded drive or a training run."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from geoflow_ros.cli import evaluate_dataset, evaluate_drives, evaluate_lenses, options
from geoflow_ros.cli.options import (
    AREAS,
    CONDITIONS,
    COUNT,
    DEGREES_OR_NONE,
    MODEL_HELP,
    POSITIVE,
    SEED,
)
from geoflow_ros.cli.parser import CommandParser
from geoflow_ros.resources import DEFAULT_MODEL, GEOFLOW_MODEL

if TYPE_CHECKING:
    from geoflow_ros.bundle import Calibration, PoseCalibration


def add_options(parser: CommandParser) -> None:
    """Adds the commands of this group."""
    kinds = parser.add_commands("kind", "WHAT")
    for name, add, what in (
        ("synthetic", _add_synthetic, "bundles on pairs of the synthetic worlds"),
        ("calibrate", _add_calibrate, "fit a bundle's covariance on held-out pairs; writes its manifest"),
        ("evidence", _add_evidence, "fit how probable a bundle's fixes are near the truth; writes its manifest"),
        ("negatives", _add_negatives, "whether a bundle notices the patch of another place"),
        ("stress", _add_stress, "what a bundle says of wrong maps, wrong pictures and worlds of other kinds"),
        ("lenses", evaluate_lenses.add_options, "a bundle through other cameras than its own, warped to it"),
        ("precision", _add_precision, "whether bfloat16 or float16 is accurate enough (exit code 1: no)"),
        ("drives", evaluate_drives.add_options, "whole simulated drives, offline: the track and what is published"),
        ("dataset", evaluate_dataset.add_options, "a bundle on a recorded data set in a folder"),
        ("bag", _add_bag, "a recorded drive with ground truth (MCAP or SQLite bag)"),
        ("curves", _add_curves, "learning curves of training runs"),
        ("flow-ablation", _add_flow_ablation, "the paper's ablations of dense flow, each trained for as many steps"),
    ):
        kinds.add_parser(name, help=what, add_options=add)


def _add_synthetic(parser: CommandParser) -> None:
    parser.description = "Measures accuracy and covariance of bundles on the same image pairs of the synthetic worlds."
    worlds = parser.add_mutually_exclusive_group(required=True)
    worlds.add_argument("--area", choices=AREAS, help="the town of the training, or new cities")
    options.add_orthophotos(worlds, "or held-out cities of real orthophotos, with maps of another year")
    options.add_held_out(parser)
    parser.add_argument(
        "--model", action="append", help=f"{MODEL_HELP}; give several to compare them (default {DEFAULT_MODEL})"
    )
    parser.add_argument("--pairs", type=COUNT, default=2000, help="how many image pairs")
    parser.add_argument("--seed", type=SEED, default=0, help="which pairs; with --area cross also which cities")
    options.add_irs(parser)
    heading = parser.add_mutually_exclusive_group()
    heading.add_argument(
        "--heading-error-deg", type=DEGREES_OR_NONE, help="sigma of the heading error, degrees (default 2)"
    )
    heading.add_argument("--heading-uniform-deg", type=DEGREES_OR_NONE, help="uniform in ± this instead")
    options.add_conditions(parser, "the pairs")
    parser.add_argument(
        "--photometric",
        action="store_true",
        help="change colours, tones and sharpness of both pictures strongly",
    )
    parser.add_argument(
        "--prior-radius-m",
        type=POSITIVE,
        metavar="M",
        help="largest error of the prior (default: what the model searches)",
    )
    parser.add_argument(
        "--camera",
        choices=("nominal", "hypotheses"),
        help="take the camera's pose for exact, or try several ways in which it may stand (default: nominal under easy "
        "conditions, else hypotheses)",
    )
    parser.add_argument("--ablation", action="store_true", help="also the tables over N, R and step")
    parser.add_argument("--baseline", action="store_true", help="also bird's-eye template matching and patch centre")
    parser.add_argument("--record", action="store_true", help="write the figures into the bundle's manifest")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=synthetic)


def _add_calibrate(parser: CommandParser) -> None:
    parser.description = "Fits a bundle's covariance on held-out pairs, into its manifest."
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    _add_pairs(parser, 1000, "how many image pairs of each of the conditions")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=["easy"], help="of the pairs, mixed")
    options.add_orthophotos(parser, "half as many pairs of these as well, under the last conditions")
    options.add_held_out(parser)
    options.add_json(parser)
    options.add_quiet(parser)
    parser.set_defaults(run=calibrate)


def _add_evidence(parser: CommandParser) -> None:
    parser.description = (
        "Fits, on right pairs and on the questions of the stress sets, how probable it is that a fix is within 5 m of "
        "the truth, and from which probability on a fix is trusted. Both go into the bundle's manifest."
    )
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    parser.add_argument("--pairs", type=COUNT, default=100, help="how many questions of each set")
    parser.add_argument("--seed", type=SEED, default=0, help="which pairs")
    options.add_orthophotos(parser, "a set of worlds of held-out cities")
    options.add_held_out(parser)
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=evidence)


def _add_negatives(parser: CommandParser) -> None:
    parser.description = "Asks a bundle about images on their own patches and on patches of other places."
    options.add_model(parser)
    _add_pairs(parser, 256, "how many images")
    options.add_conditions(parser, "the pairs")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=negatives)


def _add_stress(parser: CommandParser) -> None:
    parser.description = (
        "Asks a bundle about right pairs, and about the same with one thing wrong: another place's or city's map, a "
        "turned or empty one, a covered, blinded, frozen or wrongly mounted camera, another lens, a wrong heading, a "
        "world of another style. What is off ought not to be published, or with a covariance that says so."
    )
    options.add_model(parser)
    parser.add_argument("--pairs", type=COUNT, default=200, help="how many questions of each set")
    parser.add_argument("--seed", type=SEED, default=0, help="which pairs")
    options.add_conditions(parser, "the pairs", default="road")
    options.add_orthophotos(parser, "a set of worlds of held-out cities")
    options.add_held_out(parser)
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw the sets: what was asked, and what was said")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "onnxruntime", "auto")
    parser.set_defaults(run=stress)


def _add_precision(parser: CommandParser) -> None:
    parser.description = (
        "Says whether a reduced precision is accurate enough for a bundle; exit code 1 where it is not."
    )
    options.add_model(parser, GEOFLOW_MODEL)
    _add_pairs(parser, 512, "how many of the calibration's image pairs")
    parser.add_argument("--record", action="store_true", help="write the check into the bundle's manifest")
    options.add_json(parser)
    options.add_quiet(parser)
    options.add_backend(parser, "openvino", "bf16")
    parser.set_defaults(run=precision)


def _add_flow_ablation(parser: CommandParser) -> None:
    parser.description = "Trains dense flow from zero, whole and without each of its parts; what is there goes on."
    parser.add_argument("--steps", type=COUNT, required=True, help="of each training")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the trainings")
    parser.add_argument("--seed", type=SEED, default=0, help="of weights and worlds")
    parser.add_argument("--pairs", type=COUNT, default=96, help="of each area that are measured")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_conditions(parser, "training and validation")
    options.add_json(parser)
    parser.set_defaults(run=flow_ablation)


def _add_pairs(parser: CommandParser, pairs: int, what: str) -> None:
    parser.add_argument("--pairs", type=COUNT, default=pairs, help=what)
    parser.add_argument(
        "--area", choices=AREAS, default="cross", help="whose: the town's of the training, or new cities'"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="which pairs")


def _add_bag(parser: CommandParser) -> None:
    from geoflow_ros.evaluation.bag import Topics

    parser.description = "Measures a recorded drive with ground truth: error, covariance, rate and latency."
    topics = Topics()
    parser.add_argument("bag", type=Path, help="the bag's folder or .mcap file")
    for name, what in (
        ("truth", "true odometry in the map frame"),
        ("odometry", "the vehicle's odometry"),
        ("fixes", "published poses"),
        ("track", "tracked odometry in the map frame"),
        ("hypotheses", "hypotheses, one message a fix"),
        ("image", "camera images"),
    ):
        parser.add_argument(f"--{name}", default=getattr(topics, name), metavar="TOPIC", help=what)
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw the error over time with 95 %% bounds")
    options.add_json(parser)
    parser.set_defaults(run=bag)


def _add_curves(parser: CommandParser) -> None:
    parser.description = "Draws the learning curves of training runs."
    parser.add_argument("runs", type=Path, nargs="+", help="folders with metrics.jsonl")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture to write")
    parser.set_defaults(run=curves)


def synthetic(args: argparse.Namespace) -> int:
    """The figures of bundles on the synthetic worlds."""
    from geoflow_ros.evaluation.comparison import compare
    from geoflow_ros.evaluation.synthetic import Protocol, heading_error
    from geoflow_ros.world.conditions import conditions_named
    from geoflow_ros.world.pairs import Area

    protocol = Protocol(
        area=Area.CROSS if args.area is None else Area(args.area),
        pairs=args.pairs,
        seed=args.seed,
        orthophotos=options.orthophotos(args),
        prior_radius_m=args.prior_radius_m,
        heading=heading_error(args.heading_error_deg, args.heading_uniform_deg),
        conditions=conditions_named(args.conditions),
        photometric=args.photometric,
        camera=args.camera,
    )
    models = args.model or [DEFAULT_MODEL]
    comparison = compare(
        models,
        protocol,
        hypotheses=args.hypotheses,
        iterations=args.iterations,
        ablation=args.ablation,
        baseline=args.baseline,
        backend=options.backend_options(args),
        progress=not args.quiet,
    )
    print(comparison.text())
    options.write_json(args.json, comparison.as_json())
    if args.record:
        from geoflow_ros.evaluation.annotate import store_figures
        from geoflow_ros.resources import model_path

        for model, report in zip(models, comparison.reports, strict=True):
            store_figures(model_path(model), protocol.key, report.summary())
    return 0


def calibrate(args: argparse.Namespace) -> int:
    """A bundle's covariance, fitted and written into its manifest."""
    from dataclasses import asdict, replace

    from geoflow_ros.bundle import PoseCalibrations
    from geoflow_ros.evaluation.annotate import store_calibration
    from geoflow_ros.evaluation.calibration import calibrate as fit
    from geoflow_ros.evaluation.synthetic import Protocol
    from geoflow_ros.resources import model_path
    from geoflow_ros.world.conditions import conditions_named
    from geoflow_ros.world.pairs import Area
    from geoflow_ros.world.splits import Split

    protocols = [
        Protocol(Area(args.area), args.pairs, args.seed, split=Split.CALIBRATION, conditions=conditions_named(name))
        for name in args.conditions
    ]
    orthophotos = options.orthophotos(args)
    if orthophotos is not None:
        half = max(1, args.pairs // 2)
        protocols.append(replace(protocols[-1], pairs=half, photometric=True, orthophotos=orthophotos))
    calibration = fit(args.model, protocols, progress=not args.quiet)
    store_calibration(model_path(args.model), calibration)
    if isinstance(calibration, PoseCalibrations):
        print(f"camera known: {_described(calibration.camera_known)}")
        print(f"camera unknown: {_described(calibration.camera_unknown)}")
    else:
        print(_described(calibration))
    options.write_json(args.json, asdict(calibration))
    return 0


def _described(calibration: "Calibration | PoseCalibration") -> str:
    """Scales and floors in one line."""
    from geoflow_ros.bundle import PoseCalibration

    parts = [
        f"forward: {calibration.forward_scale:.2f} sigma and {calibration.forward_floor_m:.2f} m",
        f"right: {calibration.right_scale:.2f} sigma and {calibration.right_floor_m:.2f} m",
    ]
    if isinstance(calibration, PoseCalibration):
        parts.append(f"yaw: {calibration.yaw_scale:.2f} sigma and {math.degrees(calibration.yaw_floor_rad):.2f} deg")
        parts.append(f"temperature {calibration.temperature:.1f}")
    return f"{'; '.join(parts)} ({calibration.data})"


def evidence(args: argparse.Namespace) -> int:
    """A bundle's evidence, fitted and written into its manifest."""
    from geoflow_ros.evaluation.annotate import store_evidence
    from geoflow_ros.evaluation.evidence import fit_evidence
    from geoflow_ros.resources import model_path

    report = fit_evidence(
        args.model,
        args.pairs,
        args.seed,
        orthophotos=options.orthophotos(args),
        backend=options.backend_options(args),
        progress=not args.quiet,
    )
    store_evidence(model_path(args.model), report.evidence)
    print(report.text())
    options.write_json(args.json, report.as_json())
    return 0


def negatives(args: argparse.Namespace) -> int:
    """How a bundle tells the right place from another."""
    from geoflow_ros.evaluation.negatives import measure_negatives
    from geoflow_ros.evaluation.synthetic import Protocol
    from geoflow_ros.world.conditions import conditions_named
    from geoflow_ros.world.pairs import Area

    protocol = Protocol(Area(args.area), args.pairs, args.seed, conditions=conditions_named(args.conditions))
    backend = options.backend_options(args)
    report = measure_negatives(args.model, protocol, backend=backend, progress=not args.quiet)
    print(report.text())
    options.write_json(args.json, report.as_json())
    return 0


def stress(args: argparse.Namespace) -> int:
    """What a bundle says where it ought to say that it does not know."""
    from geoflow_ros.evaluation.stress import measure_stress
    from geoflow_ros.world.conditions import conditions_named

    report = measure_stress(
        args.model,
        args.pairs,
        args.seed,
        conditions=conditions_named(args.conditions),
        orthophotos=options.orthophotos(args),
        backend=options.backend_options(args),
        progress=not args.quiet,
    )
    print(report.text())
    options.write_json(args.json, report.as_json())
    if args.out:
        from geoflow_ros.visualization.stress import stress_picture

        pictures = {name: (question.image, question.patch) for name, question in report.examples.items()}
        stress_picture(report.title, report.sets, pictures, args.out)
        print(f"\n{args.out}")
    return 0


def precision(args: argparse.Namespace) -> int:
    """Whether a reduced precision is accurate enough for a bundle."""
    from dataclasses import asdict

    from geoflow_ros.backends import open_backend
    from geoflow_ros.bundle import Bundle
    from geoflow_ros.evaluation.annotate import store_precision_check
    from geoflow_ros.evaluation.precision import compare
    from geoflow_ros.resources import model_path
    from geoflow_ros.world.pairs import Area

    bundle = Bundle.load(model_path(args.model))
    candidate = open_backend(bundle, options.backend_options(args), checked=False)
    check = compare(bundle, candidate, args.pairs, args.seed, Area(args.area), progress=not args.quiet)
    print(f"{'passed' if check.passes else 'failed'}: {check.describe()}")
    if args.record:
        store_precision_check(bundle.path, check)
    options.write_json(args.json, {**asdict(check), "change": check.change, "passes": check.passes})
    return 0 if check.passes else 1


def bag(args: argparse.Namespace) -> int:
    """The figures of a recorded drive with ground truth."""
    from geoflow_ros.evaluation.bag import Topics, drive_figures, read_drive
    from geoflow_ros.evaluation.tables import drive_table
    from geoflow_ros.visualization.drive import error_picture

    names = ("truth", "odometry", "fixes", "track", "hypotheses", "image")
    topics = Topics(**{name: getattr(args, name) for name in names})
    record = read_drive(args.bag, topics)
    metrics = drive_figures(record)
    print(drive_table(metrics))
    if args.out:
        error_picture(record, args.out)
        print(f"\n{args.out}")
    options.write_json(args.json, metrics)
    return 0


def curves(args: argparse.Namespace) -> int:
    """The learning curves of training runs, as a picture."""
    from geoflow_ros.visualization.learning_curves import learning_curves

    learning_curves({run.resolve().name: run for run in args.runs}, args.out)
    print(args.out)
    return 0


def flow_ablation(args: argparse.Namespace) -> int:
    """The paper's ablations of dense flow (exit code 1: interrupted, to be run again)."""
    from geoflow_ros.evaluation.flow_ablation import ablate_flow, flow_ablation_tables
    from geoflow_ros.model.dense_flow import ABLATIONS
    from geoflow_ros.training.run import SyntheticTraining

    settings = SyntheticTraining(
        out=args.out,
        method="dense_flow_paper",
        steps=args.steps,
        seed=args.seed,
        device=args.device,
        conditions=args.conditions,
        validation_pairs=args.pairs,
    )
    rows = ablate_flow(settings)
    print("\n\n".join(flow_ablation_tables(rows)))
    options.write_json(args.json, rows)
    return 0 if len(rows) == len(ABLATIONS) + 1 else 1
