"""Bundles measured on the same synthetic pairs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import synthetic
from geoflow_ros.evaluation.comparison import Comparison, ModelReport, compare
from geoflow_ros.evaluation.tables import consistency_table, papers_table
from geoflow_ros.world import Area
from geoflow_ros.world.conditions import HARD

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "synthetic"


@pytest.fixture(scope="module")
def measured(converging_bundle: Path) -> ModelReport:
    protocol = synthetic.Protocol(Area.CROSS, pairs=6, seed=11)
    return compare([converging_bundle], protocol, iterations=3, ablation=True, baseline=True).reports[0]


def test_the_evaluation_reports_the_fixed_keys(measured: ModelReport) -> None:
    content = json.loads(json.dumps(measured.as_json(), allow_nan=False))
    for key in (
        "mean_error_m", "median_error_m", "lateral_mean_error_m", "longitudinal_mean_error_m", "recall_1m", "recall_5m",
        "lateral_recall_1m", "lateral_recall_5m", "longitudinal_recall_1m", "longitudinal_recall_5m", "anees",
        "coverage_50", "coverage_90", "coverage_95", "nll", "latency_ms", "frames_per_second", "availability",
    ):  # fmt: skip
        assert key in content, key
    assert set(content["latency_ms"]) == {"p50", "p95", "p99"}
    assert content["pairs"] == content["frames"] == 6
    assert content["iterations"] == 3
    assert set(content["baselines"]) == {"bird's-eye template matching", "centre of the patch"}


def test_the_ablation_has_the_papers_settings_and_the_text_its_tables(measured: ModelReport) -> None:
    settings = {(row.settings.hypotheses, row.settings.iterations) for row in measured.ablation}
    assert {(10, 1), (10, 3), (10, 5), (10, 10), (1, 5), (20, 5), (1, 1)} <= settings
    text = Comparison((measured,)).text()
    for title in ("iterations, N = 10", "hypotheses, R = 5", "step,", "centre of the patch", "ANEES"):
        assert title in text


def test_the_ablation_of_the_default_setting_is_the_measurement_itself(measured: ModelReport) -> None:
    row = next(row for row in measured.ablation if row.settings == measured.settings)
    assert row.figures["mean_error_m"] == pytest.approx(measured.figures["mean_error_m"], abs=1e-3)


def test_the_centre_of_the_patch_is_as_wrong_as_the_prior(measured: ModelReport, converging_bundle: Path) -> None:
    bundle = Bundle.load(converging_bundle)
    sampler = synthetic.sampler_for(bundle.manifest, measured.protocol)
    distances = [math.hypot(*sampler.pair(k).offset_m) for k in range(6)]
    assert measured.baselines["centre of the patch"]["mean_error_m"] == pytest.approx(np.mean(distances))


def test_the_report_names_its_conditions(measured: ModelReport, converging_bundle: Path) -> None:
    assert "conditions easy" in Comparison((measured,)).text()
    assert measured.as_json()["conditions"] == measured.summary()["conditions"] == "easy"
    hard = compare([converging_bundle], synthetic.Protocol(Area.CROSS, 2, 11, conditions=HARD))
    assert "conditions hard" in hard.text()
    assert hard.as_json()["conditions"] == "hard"


@pytest.fixture(scope="module")
def compared(converging_bundle: Path) -> Comparison:
    return compare([converging_bundle, SHIPPED], synthetic.Protocol(Area.CROSS, pairs=6, seed=11), iterations=3)


def test_a_model_answers_in_company_as_it_does_alone(compared: Comparison, measured: ModelReport) -> None:
    """The shipped model takes patches of another size: the pairs are the same ones in both sizes."""
    together, alone = (dict(report.figures) for report in (compared.reports[0], measured))
    for figures in (together, alone):
        del figures["latency_ms"], figures["frames_per_second"]
    assert together == alone


def test_several_models_stand_side_by_side_in_one_table_of_the_papers_form(compared: Comparison) -> None:
    lines = compared.text().splitlines()
    (header,) = [line for line in lines if "lon @5m %" in line]
    rows = lines[lines.index(header) + 2 :][:2]
    assert [row.split()[0] for row in rows] == ["converging", "synthetic"]
    for row in rows:
        assert row.split()[-4:] == ["-"] * 4  # neither gives a yaw


def test_the_json_of_several_models_has_an_entry_each(compared: Comparison) -> None:
    content = json.loads(json.dumps(compared.as_json(), allow_nan=False))
    assert [entry["model"] for entry in content["models"]] == ["converging", "synthetic"]
    assert all(entry["mean_error_m"] > 0 and entry["pairs"] == 6 for entry in content["models"])


def test_models_of_the_same_name_are_told_apart(converging_bundle: Path) -> None:
    twice = compare([converging_bundle, converging_bundle], synthetic.Protocol(Area.CROSS, 1, 11))
    assert [report.model for report in twice.reports] == [str(converging_bundle)] * 2


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="at least one model"):
        compare([], synthetic.Protocol(Area.CROSS, 1, 11))


def test_the_papers_table_has_the_yaw_of_a_method_that_gives_it() -> None:
    position = {f"{axis}_recall_{limit}m": 0.25 for axis in ("lateral", "longitudinal") for limit in (1, 5)}
    position |= {"mean_error_m": 1.5, "median_error_m": 0.5}
    yaw = {"yaw_mean_error_deg": 1.25, "yaw_median_error_deg": 0.75, "yaw_recall_1deg": 0.6, "yaw_recall_5deg": 0.9}
    *_, with_yaw, without = papers_table({"one": position | yaw, "other": position}).splitlines()
    assert with_yaw.split() == ["one", "1.50", "0.50", *["25.0"] * 4, "1.25", "0.75", "60.0", "90.0"]
    assert without.split() == ["other", "1.50", "0.50", *["25.0"] * 4, *["-"] * 4]


def test_the_consistency_table_leaves_out_what_no_method_states() -> None:
    text = consistency_table({"one": {"anees": 1.5, "coverage_95": 0.912}, "other": {"anees": 0.8}})
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["position:", "ANEES", "1.50", "0.80", "1"],
        ["inside", "95", "%", "91.2", "-", "95"],
    ]
