"""`geoflow train`: trains on ever new synthetic worlds."""

import argparse
from pathlib import Path

from geoflow_ros.cli import options
from geoflow_ros.cli.options import COUNT, COUNT_OR_NONE, MINUTES, POSITIVE, SEED
from geoflow_ros.cli.parser import CommandParser, Number

# The synthetic source gives two frames and two patches of each place, combined.
_PAIRS_PER_GROUP = 4


def add_options(parser: CommandParser) -> None:
    """Adds what the command takes."""
    parser.description = (
        "Trains the network on synthetic worlds that are made as it goes. Ctrl-C or SIGTERM ends it after the step in "
        "progress with its state saved; --resume goes on. Needs the extra [train]."
    )
    parser.add_argument("--dataset", choices=("synthetic",), default="synthetic", help="what to train on")
    parser.add_argument(
        "--method",
        choices=("geoflow", "birds_eye", "dense_flow", "dense_flow_paper"),
        default="geoflow",
        help="geoflow: displacements from guessed positions; birds_eye: position and yaw from matching the road seen "
        "from above; dense_flow: a refinement of the poses of a trained birds_eye, given with --checkpoint; "
        "dense_flow_paper: dense flow from zero, encoders included",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out; give its settings again")
    parser.add_argument(
        "--extend", action="store_true", help="with --resume: with another length, such as a longer one"
    )
    length = parser.add_argument_group("length (one of --steps and --max-minutes is needed)")
    length.add_argument("--steps", type=COUNT, help="length of the training in steps")
    length.add_argument(
        "--max-minutes", type=MINUTES, help="length in time; with --steps, of one session (go on with --resume)"
    )
    length.add_argument("--session-minutes", type=MINUTES, help="stop after that long and go on with --resume")
    network = parser.add_argument_group("network")
    network.add_argument("--size", choices=("half", "full"), default="half", help="of the images")
    network.add_argument("--orientation", action="store_true", help="train the orientation head too (geoflow)")
    network.add_argument("--checkpoint", type=Path, help="start from these weights")
    network.add_argument(
        "--imagenet", type=Path, metavar="FILE", help="start both encoders from EfficientNet-B0's (geoflow)"
    )
    network.add_argument("--float16-parts", action="store_true", help="also save as float16, at most 16 MB a file")
    steps = parser.add_argument_group("steps")
    steps.add_argument("--device", default="cpu", help="cpu or cuda")
    steps.add_argument(
        "--batch-size", type=COUNT, help="pairs of a step (default: 32 on a CPU, 512 on a GPU; others: 8, 128)"
    )
    steps.add_argument("--learning-rate", type=POSITIVE, help="at its peak (default: from method and batch size)")
    steps.add_argument("--workers", type=COUNT_OR_NONE, help="processes that make worlds (default: from the machine)")
    steps.add_argument("--seed", type=SEED, default=0, help="of weights, worlds and hypotheses")
    steps.add_argument("--validation-pairs", type=COUNT, default=96, help="of each protocol")
    steps.add_argument(
        "--validate-every",
        type=COUNT,
        help="steps between validations (default: 250 on a CPU, 2000 on a GPU; others: 125, 1000)",
    )
    _add_worlds(parser.add_argument_group("worlds"))
    options.add_json(parser)
    parser.set_defaults(run=run)


def _add_worlds(worlds: argparse._ArgumentGroup) -> None:
    share = Number(float, at_least=0, at_most=1, metavar="SHARE")
    worlds.add_argument("--town-share", type=share, default=0.5, help="part of the worlds that are the fixed town")
    options.add_conditions(worlds, "training and validation")
    worlds.add_argument(
        "--photometric",
        type=share,
        metavar="SHARE",
        help="part of the pictures whose colours, tones and sharpness are changed as by another camera (default: from "
        "the method)",
    )
    options.add_orthophotos(worlds, "make a share of the training's worlds of real orthophotos")
    options.add_held_out(worlds)
    worlds.add_argument(
        "--orthophoto-share", type=share, default=0.5, metavar="SHARE", help="part of the worlds that are orthophotos"
    )


def run(args: argparse.Namespace) -> int:
    """Trains until an end is reached."""
    from dataclasses import asdict

    from geoflow_ros.training.run import SyntheticTraining, train_synthetic

    settings = SyntheticTraining(
        out=args.out,
        method=args.method,
        size=args.size,
        max_minutes=args.max_minutes if args.steps is None else None,
        steps=args.steps,
        session_minutes=args.session_minutes if args.steps is None else args.session_minutes or args.max_minutes,
        seed=args.seed,
        device=args.device,
        groups=None if args.batch_size is None else max(1, args.batch_size // _PAIRS_PER_GROUP),
        town_share=args.town_share,
        conditions=args.conditions,
        photometric_share=args.photometric,
        orthophotos=options.orthophotos(args, args.orthophoto_share),
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
    result = train_synthetic(settings)
    error = "not validated" if result.best_error_m is None else f"best validation {result.best_error_m:.2f} m"
    state = "finished" if result.is_finished else "to be resumed with --resume"
    print(f"{result.step} steps, {result.pairs} pairs, {result.elapsed_s / 60:.1f} min, {error}, {state}")
    print(result.best_checkpoint or result.last_checkpoint)
    options.write_json(args.json, {key: str(v) if isinstance(v, Path) else v for key, v in asdict(result).items()})
    return 0
