"""Models on the same recorded drive: the difference of their errors, and what chance leaves open of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx (the extra [test])")

from fakes.bags import sensor_messages, write_messages
from fakes.bundle import write_bundle
from fakes.map import DATUM, write_map

from geoflow_ros.arrays import Float64Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.cli.dispatch import main
from geoflow_ros.evaluation.replay import ReplaySettings, compare_replays
from geoflow_ros.evaluation.replay.answers import COLUMNS, ReplayAnswers
from geoflow_ros.evaluation.replay.comparison import STRETCH_M, differences

STEP_M = 5.0
PER_STRETCH = round(STRETCH_M / STEP_M)


def answers(errors_m: Float64Array) -> ReplayAnswers:
    """A straight drive to the east with a frame every `STEP_M` and these errors to the side; NaN: no fix."""
    count = len(errors_m)
    truth = np.column_stack([STEP_M * np.arange(count), np.zeros(count), np.zeros(count)])
    values = np.full((count, len(COLUMNS)), np.nan)
    for name, column in (("east_m", truth[:, 0]), ("north_m", errors_m), ("yaw_rad", truth[:, 2])):
        values[:, COLUMNS.index(name)] = np.where(np.isnan(errors_m), np.nan, column)
    return ReplayAnswers(
        np.arange(count), ("published",) * count, ("TRACKING",) * count, values, truth, np.ones(count)
    )  # fmt: skip


def of_fixes(reference: Float64Array, other: Float64Array) -> dict[str, object]:
    entries = differences({"a": answers(reference), "b": answers(other)})
    assert [(entry["model"], entry["against"], entry["of"]) for entry in entries] == [
        ("b", "a", "fixes"),
        ("b", "a", "track"),
    ]
    assert entries[1]["frames"] == 0  # there is no track
    return entries[0]


def test_what_is_paired_leaves_nothing_to_chance_where_the_difference_is_always_the_same() -> None:
    hard = np.abs(np.random.default_rng(1).normal(0.0, 20.0, 8 * PER_STRETCH))  # each model alone scatters by metres
    found = of_fixes(hard, hard + 0.5)
    assert (found["frames"], found["stretches"]) == (80, 8)
    assert found["difference_m"] == pytest.approx(0.5)
    assert found["interval_m"] == pytest.approx([0.5, 0.5])


def test_stretches_are_drawn_and_not_frames() -> None:
    # One stretch of eight is worse by 8 m. Drawn 8 times, it comes k times with the odds of a binomial (8, 1/8): mean
    # k m, 97.5 % of the draws with 3 at most. Frames drawn one by one would give 1 ± 0.6 m.
    worse = np.zeros(8 * PER_STRETCH)
    worse[PER_STRETCH : 2 * PER_STRETCH] = 8.0
    found = of_fixes(np.zeros_like(worse), worse)
    assert found["difference_m"] == pytest.approx(1.0)
    assert found["interval_m"] == pytest.approx([0.0, 3.0])


def test_only_frames_that_both_answered_count_and_one_stretch_has_no_interval() -> None:
    first, second = np.ones(PER_STRETCH), np.full(PER_STRETCH, 3.0)
    first[2], second[5] = np.nan, np.nan
    found = of_fixes(first, second)
    assert (found["frames"], found["stretches"], found["interval_m"]) == (PER_STRETCH - 2, 1, None)
    assert found["difference_m"] == pytest.approx(2.0)


def test_two_models_on_a_bag_are_compared_in_metrics_and_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = write_bundle(tmp_path)
    beside = write_bundle(
        tmp_path, "beside", right=0.01
    )  # 0.2 m to the right of each patch, where the track is already
    write_map(tmp_path / "noise.mbtiles")
    bag, tiles = write_messages(tmp_path / "bag", sensor_messages(24.0)), tmp_path / "noise.mbtiles"
    datum, out = (DATUM.lat_deg, DATUM.lon_deg), tmp_path / "out"
    settings = ReplaySettings(
        bag, str(tiles), out, datum=datum, model=exact, backend=BackendOptions("onnxruntime", threads=1)
    )
    said: list[str] = []
    result = compare_replays(settings, [beside], said.append)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(result.metrics))
    assert list(metrics["models"]) == ["colours", "beside"]
    assert sum(line.startswith("image") for line in said) == 1
    fixes, track = metrics["differences"]
    errors = {name: distances(out / name / "fixes.tum", out / name / "truth.tum") for name in metrics["models"]}
    assert fixes["frames"] == len(errors["beside"]) == metrics["models"]["beside"]["frames"]
    assert fixes["difference_m"] == pytest.approx(errors["beside"].mean() - errors["colours"].mean(), abs=1e-3)
    for found in (fixes, track):
        low, high = found["interval_m"]
        assert 0.0 < low <= found["difference_m"] <= high
        assert found["stretches"] == 3

    options = ["--datum", ",".join(map(str, datum)), "--model", str(exact), "--compare", str(beside), "--quiet"]
    assert main(["replay", str(bag), "--tiles", str(tiles), "--out", str(tmp_path / "again"), *options]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    for found in (fixes, track):
        row = f"beside minus colours, {found['of']} 49 3 {found['difference_m']:+.2f} {found['interval_m'][0]:+.2f} to"
        assert [*row.split(), f"{found['interval_m'][1]:+.2f}"] in printed
    for name in ("colours/frames.csv", "beside/frames.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def distances(estimate: Path, truth: Path) -> Float64Array:
    rows = [np.loadtxt(path)[:, 1:3] for path in (estimate, truth)]
    return np.asarray(np.linalg.norm(rows[0] - rows[1], axis=1))
