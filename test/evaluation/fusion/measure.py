"""How good robot_localization is behind the localizer, with several settings, on bags of `geoflow demo`.

::

    geoflow demo --seconds 120 --seed 1 --area cross --out out/1        # and 2, 3 ...
    GEOFLOW_ROBOT_LOCALIZATION=DIR PYTHONPATH=. python test/evaluation/fusion/measure.py out/*/bag

NEES (squared errors of the position in standard deviations) and NIS (the same of the poses against what the filter
expects) should be 2, and 5 % of the errors outside of the 95 % ellipse. With `--store FILE` the first minute of the
first bag is stored with what the filter answered to it, for where there is no filter.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from evaluation.fusion.filter_core import FilterSettings, answers_of, compiled
from evaluation.fusion.recorded import FusionDrive, Series

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.evaluation.drive_answers import Poses

BEFORE = "position and speed alone, all else by default"  # as the page had it
STORED_S, STORED_EVERY = 60.0, 6  # of the states, 30 a second
SETTLED_S = 10.0  # what is measured begins after so long

_YAW_OF_POSE, _VY_OF_TWIST = 5, 7


def variants() -> dict[str, FilterSettings]:
    """Returns the settings that are compared, from none of ours to all of them."""
    ours = FilterSettings.of_file("ekf_map")
    defaults = {"two_d_mode": None, "smooth_lagged_data": None}
    covariances = {"process_noise_covariance": None, "initial_estimate_covariance": None}
    bare = {
        "pose0_config": _without(ours, "pose0", _YAW_OF_POSE),
        "odom0_config": _without(ours, "odom0", _VY_OF_TWIST),
    }
    return {
        BEFORE: ours.changed(**defaults, **covariances, **bare),
        "+ initial covariance, yaw, vy, two_d_mode": ours.changed(
            smooth_lagged_data=None, process_noise_covariance=None
        ),
        "+ smooth_lagged_data": ours.changed(process_noise_covariance=None),
        "config/ekf.yaml (+ process noise)": ours,
        "config/ekf.yaml, process noise of x and y 1.0": ours.changed(process_noise_covariance=_noisier(ours)),
        "config/ekf.yaml without the pose's yaw": ours.changed(pose0_config=bare["pose0_config"]),
    }


def figures(poses: list[Poses]) -> str:
    """Returns RMSE, NEES and the share outside of the 95 % ellipse, as columns."""
    joined = Poses.joined(poses)
    within = joined.share_within(0.95)
    assert within is not None
    return f"{joined.rmse_m:8.2f} {joined.nees.mean():8.2f} {100 * (1 - within):8.1f} %"


def settled(drive: FusionDrive, stamps_ns: Int64Array, positions: Float64Array, covariances: Float64Array) -> Poses:
    """Returns the poses of a drive after its beginning, against the truth."""
    kept = stamps_ns >= drive.truth.stamps_ns[0] + SETTLED_S * 1e9
    kept &= stamps_ns <= drive.truth.stamps_ns[-1]
    return Poses(stamps_ns, drive.errors_of(stamps_ns, positions), covariances).take(kept)


def of_series(drive: FusionDrive, series: Series) -> Poses:
    """Returns the poses of a topic."""
    return settled(drive, series.stamps_ns, series.values[:, :2], series.covariances[:, :2, :2])


def exact(drive: FusionDrive) -> FusionDrive:
    """Returns the drive with an odometry that says nothing of its errors, as many drivers do."""
    return replace(drive, odometry=replace(drive.odometry, covariances=np.zeros_like(drive.odometry.covariances)))


def _without(settings: FilterSettings, sensor: str, member: int) -> list[bool]:
    config = list(settings.parameters[f"{sensor}_config"])
    config[member] = False
    return config


def _noisier(settings: FilterSettings) -> list[float]:
    return [1.0, 1.0, *settings.parameters["process_noise_covariance"][2:]]


def store(program: Path, drive: FusionDrive, path: Path) -> None:
    """Stores the beginning of a drive, what the filter is told of it, and what it answered."""
    asked = {"ours": FilterSettings.of_file("ekf_map"), "before": variants()[BEFORE]}
    part = drive.until(STORED_S).thinned()
    found: dict[str, Any] = {}
    for name, settings in asked.items():
        answers = answers_of(program, settings, part)
        found |= {f"{name}_{key}": value[::STORED_EVERY] for key, value in answers.states().items()}
        found[f"{name}_settings"] = json.dumps(settings.parameters)
    np.savez_compressed(path, **part.arrays(), **found)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG")
    parser.add_argument("--store", type=Path, metavar="FILE")
    options = parser.parse_args()
    drives = [FusionDrive.of_bag(bag) for bag in options.bags]
    with TemporaryDirectory() as folder:
        program = compiled(Path(folder))
        if options.store is not None:
            store(program, drives[0], options.store)
        else:
            print_table(program, drives)


def print_table(program: Path, drives: list[FusionDrive]) -> None:
    """Prints a line for every output of the localizer, and for every set of settings."""
    print(f"{'':50s} RMSE m     NEES  outside 95 %      NIS")
    print(f"{'~/pose':48s} {figures([of_series(d, d.poses) for d in drives])}")
    print(f"{'~/track':48s} {figures([of_series(d, d.track) for d in drives])}")
    asked = {name: (settings, drives) for name, settings in variants().items()}
    ours = FilterSettings.of_file("ekf_map")
    asked["config/ekf.yaml, twist without variances"] = ours, [exact(drive) for drive in drives]
    for name, (settings, told) in asked.items():
        answers = [answers_of(program, settings, drive) for drive in told]
        poses = [settled(d, a.stamps_ns, a.positions_m, a.covariances) for d, a in zip(drives, answers, strict=True)]
        first_s = [drive.truth.stamps_ns[0] * 1e-9 + SETTLED_S for drive in drives]
        nis = [a.innovations[a.innovations[:, 0] >= s, 1] for a, s in zip(answers, first_s, strict=True)]
        print(f"{name:48s} {figures(poses)} {np.concatenate(nis).mean():12.2f}")


if __name__ == "__main__":
    main()
