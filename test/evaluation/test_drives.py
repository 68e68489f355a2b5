"""Whole drives offline: the same on every run, against the truth, and worse where something is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fakes.command_line import only_line, run

from geoflow_ros.cli import evaluate_drives
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.drive_answers import PUBLISHED, THINNED, DriveAnswers, Poses, figures_of
from geoflow_ros.evaluation.drive_protocol import DISTURBED, DriveProtocol
from geoflow_ros.evaluation.drive_report import DrivesReport
from geoflow_ros.evaluation.drives import measure_drives
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND

SHIPPED = "birds_eye"
SHORT = DriveProtocol(drives=1, seconds=8.0, rate_hz=1.5, seed=3, disturbed=tuple(DISTURBED))


@pytest.fixture(scope="module")
def report() -> DrivesReport:
    return measure_drives([SHIPPED], SHORT)


def test_every_frame_has_an_outcome_and_every_disturbance_its_figures(report: DrivesReport) -> None:
    assert [run["disturbed"] for run in report.runs] == list(DISTURBED)
    for found in report.runs:
        assert found["frames"] == 12
        assert sum(found["outcomes"].values()) == pytest.approx(1.0)
        assert found["tracked"] == found["frames"]
        assert 0.0 <= found["availability"] <= 1.0
        assert {"rmse_m", "median_error_m", "p95_error_m", "anees", "coverage_95"} <= found.keys()
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["runs"][0]["model"] == SHIPPED
    assert all(name.replace("_", " ") in report.text() for name in DISTURBED)


def test_a_wrong_map_or_a_wrong_camera_is_worse_and_a_black_one_gives_nothing(report: DrivesReport) -> None:
    right, wrong, black, other_camera, _ = report.runs
    assert right["availability"] > 0.9
    assert 0 < right["outcomes"][PUBLISHED] < right["availability"]  # one in ten metres is published
    assert right["rmse_m"] < 4.0
    for disturbed in (wrong, other_camera):
        is_rejected = disturbed["availability"] < right["availability"] - 0.2
        assert is_rejected or disturbed["rmse_m"] > right["rmse_m"] + 1.0
    assert black["outcomes"]["bad_images"] == pytest.approx(0.5, abs=0.1)
    assert black["published"]["count"] < right["published"]["count"]


def test_the_same_drives_give_the_same_figures_to_the_last_digit(report: DrivesReport) -> None:
    again = measure_drives([SHIPPED], DriveProtocol(**{**vars(SHORT), "disturbed": ("right",)}))
    first, second = (json.dumps(found.runs[0], sort_keys=True) for found in (report, again))
    assert first == second


def test_the_worst_drive_of_each_row_is_drawn(report: DrivesReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an extra")
    from geoflow_ros.visualization.drives import TrackErrors, drives_picture

    worst = report.worst()
    assert list(worst) == list(DISTURBED)
    rows = {name: {model: TrackErrors(*drive.plotted()) for model, drive in of.items()} for name, of in worst.items()}
    drives_picture(report.protocol.title, rows, tmp_path / "drives.png")
    assert (tmp_path / "drives.png").stat().st_size > 10_000


def poses(*rows: tuple[float, float, float]) -> Poses:
    """Of errors forward and to the right, and a standard deviation on both axes; one a second."""
    errors = np.array([row[:2] for row in rows]).reshape(-1, 2)
    covariances = np.array([np.eye(2) * row[2] ** 2 for row in rows]).reshape(-1, 2, 2)
    return Poses(np.arange(1, len(rows) + 1) * NANOSECONDS_PER_SECOND, errors, covariances)


def answers(
    track: Poses, published: Poses, outcomes: tuple[str, ...], seed: int = 0, states: tuple[str, ...] = ()
) -> DriveAnswers:
    """A drive of 10 m/s with a frame each second, from the first second on; what is wrong is so from the second on."""
    frames = np.arange(1, len(outcomes) + 1)
    return DriveAnswers(
        seed=seed,
        first_ns=0,
        onset_s=2.0,
        stamps_ns=frames * NANOSECONDS_PER_SECOND,
        driven_m=10.0 * frames,
        outcomes=outcomes,
        states=states or ("TRACKING",) * len(outcomes),
        track=track,
        track_frames=np.arange(len(track.stamps_ns)),
        published=published,
        inputs_rejected=0,
        seconds_per_frame=0.01,
    )


def test_figures_are_those_of_the_track_and_of_what_is_published() -> None:
    track = poses((3.0, 4.0, 5.0), (0.0, 0.0, 1.0))
    published = poses((6.0, 0.0, 1.0), (1.0, 0.0, 1.0))
    found = figures_of([answers(track, published, (PUBLISHED, PUBLISHED, "bad_images", "bad_images"))])
    assert found["rmse_m"] == pytest.approx(math.sqrt(12.5))
    assert found["anees"] == pytest.approx(0.25)
    assert found["outcomes"] == {"bad_images": 0.5, PUBLISHED: 0.5}
    assert found["availability"] == 0.75  # the third frame's answer is a second old, the fourth's is two
    assert found["published"]["largest_sigmas"] == pytest.approx(6.0)
    assert found["published"]["beyond_5_sigma"] == 1
    assert found["published"]["beyond_999"] == 0.5
    assert "rmse_m_interval" not in found


def test_drives_without_a_pose_have_figures_all_the_same() -> None:
    found = figures_of([answers(poses(), poses(), ("no_prior",) * 3)])
    assert found["availability"] == 0.0
    assert found["published"]["count"] == 0
    assert found["published"]["mean_error_m"] is found["published"]["largest_sigmas"] is None
    assert "rmse_m" not in found


def test_a_pose_that_is_no_news_is_an_answer_and_not_published() -> None:
    found = figures_of([answers(poses((1.0, 0.0, 1.0)), poses((1.0, 0.0, 1.0)), (PUBLISHED, THINNED, "bad_images"))])
    assert found["availability"] == 1.0
    assert found["published"]["count"] == 1
    assert found["outcomes"][THINNED] == pytest.approx(1 / 3)


def test_the_way_until_a_track_is_lost_is_from_the_onset_and_what_is_lost_is_not_vouched_for() -> None:
    track = poses((1.0, 0.0, 1.0), (1.0, 0.0, 1.0), (2.0, 0.0, 1.0), (50.0, 0.0, 1.0))
    outcomes = ("bad_images",) * 4
    lost = answers(track, poses(), outcomes, states=("LOST", "TRACKING", "DEGRADED", "LOST"))
    never = answers(track, poses(), outcomes)
    assert lost.until_lost == pytest.approx((2.0, 20.0))
    assert never.until_lost is None
    found = figures_of([lost, never])
    assert found["lost"] == {"drives": 1, "median_after_s": 2.0, "median_after_m": 20.0}
    assert found["states"] == {"WAITING": 0.0, "TRACKING": 0.625, "DEGRADED": 0.125, "LOST": 0.25}
    assert figures_of([lost])["vouched_for"]["rmse_m"] == pytest.approx(math.sqrt(2.5))
    always = answers(track, poses(), outcomes, states=("LOST",) * 4)
    assert figures_of([always])["vouched_for"]["anees"] is None


def test_intervals_are_over_drives() -> None:
    drives = [
        answers(poses((error, 0.0, 1.0), (error, 0.0, 1.0)), poses(), ("untrusted_fixes",) * 2, seed)
        for seed, error in enumerate((1.0, 2.0, 3.0))
    ]
    found = figures_of(drives)
    low, high = found["rmse_m_interval"]
    assert 1.0 <= low < found["rmse_m"] < high <= 3.0
    assert found["anees_interval"][0] < found["anees"] < found["anees_interval"][1]
    assert [drive["rmse_m"] for drive in found["drives"]] == pytest.approx([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "wrong", [{"drives": 0}, {"seconds": -1.0}, {"rate_hz": 0.0}, {"disturbed": ("fog",)}, {"disturbed": ()}]
)
def test_protocols_that_drive_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        DriveProtocol(**wrong)  # type: ignore[arg-type]


def test_models_are_needed() -> None:
    with pytest.raises(InputError, match="name at least one model"):
        measure_drives([], SHORT)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--model"),
        (["--model", "nowhere"], "nowhere"),
        (["--model", SHIPPED, "--drives", "0"], "at least 1"),
        (["--model", SHIPPED, "--seconds", "-3"], "above 0"),
        (["--model", SHIPPED, "--disturbed", "fog"], "fog"),
        (["--model", SHIPPED, "--rate", "0"], "above 0"),
    ],
)
def test_bad_input_is_answered_with_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "drives", *arguments) == 2
    assert told in only_line(capsys)


def test_the_command_knows_every_disturbance_and_split() -> None:
    assert tuple(DISTURBED) == evaluate_drives.DISTURBED


def test_the_command_writes_its_figures(
    converging_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--drives", "1", "--seconds", "2", "--rate", "1", "--json", tmp_path / "drives.json", "--quiet"]
    assert run("evaluate", "drives", "--model", converging_bundle, "--model", SHIPPED, *arguments) == 0
    assert "conditions easy" in capsys.readouterr().out
    content = json.loads((tmp_path / "drives.json").read_text())
    assert [found["model"] for found in content["runs"]] == ["converging", SHIPPED]
