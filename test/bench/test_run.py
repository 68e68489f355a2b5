"""The whole benchmark: one short run fills every part of the report, and what cannot be measured is said.

No test asserts how quick this machine is.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.rounded_backend import RoundedBackend

from geoflow_ros import cli
from geoflow_ros.backends import Backend
from geoflow_ros.bench import candidates, report, run
from geoflow_ros.bench.candidates import Candidate, open_candidate
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.run import BenchSettings, run_bench
from geoflow_ros.bench.stages import STAGES
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.bundle import sha256_of
from geoflow_ros.bundle.methods import GROUND_ENCODER
from geoflow_ros.errors import BundleError, InputError


def test_a_quick_run_fills_the_report(
    converging_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib")
    out, file = tmp_path / "pictures", tmp_path / "bench.json"
    both = (Candidate.of_label("onnxruntime fp32"), Candidate.of_label("torch fp32"))
    monkeypatch.setattr(run, "CANDIDATES", both)
    options = ["--threads", "1", "--soak", "40", "--out", str(out), "--json", str(file)]
    assert cli.main(["bench", "--quick", "--model", str(converging_bundle), *options]) == 0
    text = capsys.readouterr().out
    result = json.loads(file.read_text())

    measured = result["backends"]["onnxruntime fp32"]
    assert set(measured["kept_patch"]["stages_ms"]) == set(STAGES)
    kept, new = (measured[patch]["stages_ms"]["satellite"]["p50"] for patch in ("kept_patch", "new_patch"))
    assert kept < new / 10.0  # a patch that is kept is looked up, not encoded
    assert 0.0 < measured["refinement_share"] < 1.0
    assert {(p["hypotheses"], p["iterations"]) for p in measured["sweep"]["points"]} >= {(10, 5), (1000, 5), (10, 1)}
    assert measured["start"]["first"]["wall_s"] > 0.0
    assert measured["start"]["later"]["peak_rss_mib"] > 30.0
    assert result["quickest"] == "onnxruntime fp32"
    assert result["quickest_is_checked"]
    assert result["machine"]["versions"]["onnxruntime"]
    assert result["command"].startswith("geoflow")
    assert result["model"]["ground_px"] == [64, 256]
    assert result["patch_change"]["awaited"] == 1
    assert result["soak"]["frames"] == 40
    if result["cost"]:
        stage = result["cost"]["backends"]["onnxruntime fp32"][GROUND_ENCODER]
        assert stage["times_floor"] == pytest.approx(stage["measured_ms"] / stage["floor_ms"])
    # what cannot run is not silently missing
    assert list(result["backends"]) == ["onnxruntime fp32"]
    assert result["left_out"]["torch fp32"]  # this bundle came without a checkpoint
    assert f"left out: torch fp32: {result['left_out']['torch fp32']}" in text
    assert "--with-checkpoint" in result["left_out"]["torch as it comes"]
    for part in ("one refinement", "N = 1000, R = 5", "fresh process", "soak of 40", "targets", "512²"):
        assert part in text
    assert not any(target["applies"] for target in result["targets"])  # small images are no full-size ones
    assert (out / "sweep.png").stat().st_size > 10_000


def open_on_any_machine(bundle: Bundle, candidate: Candidate, threads: int | None = None) -> Backend:
    """As `open_candidate`, without the instructions that "torch bf16" needs."""
    if candidate.precision == "bf16":
        rounded: Backend = RoundedBackend(bundle, threads=threads)
        return rounded
    return open_candidate(bundle, candidate, threads)


def test_a_reduced_precision_without_a_check_is_not_counted_as_the_quickest(
    converging_bundle: Path,
    converging_checkpoint: Path,
    pictures: list[Pictures],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(run, "render_pictures", lambda manifest, count: pictures)  # rendered once for all tests
    monkeypatch.setattr(run, "require_available", lambda bundle, candidate: None)
    monkeypatch.setattr(run, "open_candidate", open_on_any_machine)
    from geoflow_ros.model import load_checkpoint, save_float16_parts

    folder = shutil.copytree(converging_bundle, tmp_path / "converging")
    save_float16_parts(load_checkpoint(converging_checkpoint), folder / "checkpoint")
    opened = Bundle.load(folder)
    digests = {path.name: sha256_of(path) for path in (folder / "checkpoint").iterdir()}
    opened.rewrite_manifest(replace(opened.manifest, checkpoint=digests))
    short = replace(BenchSettings(model=folder).quick(), sweep_rounds=0, starts=0, patch_frames=0)
    both = run_bench(replace(short, candidates=("onnxruntime fp32", "torch bf16")))
    assert both["quickest"] == "onnxruntime fp32"
    assert both["quickest_is_checked"]
    beside, authors = both["backends"]["onnxruntime fp32"], both["torch"]["authors"]
    assert both["torch"]["beside"] == "onnxruntime fp32"
    for patch, ratio in (("kept_patch", "ratio"), ("new_patch", "ratio_new_patch")):
        assert authors[ratio] == pytest.approx(authors["frame_ms"] / beside[patch]["stages_ms"]["total"]["p50"])
    assert both["torch"]["authors"]["whole_frames"] == 0
    assert "no whole frame run" in report.text_of(both)
    alone = run_bench(replace(short, candidates=("torch bf16",), precision_pairs=2, authors_passes=0))
    assert alone["quickest"] == "torch bf16"
    assert not alone["quickest_is_checked"]
    assert alone["torch"] is None
    assert [check["passes"] for check in alone["precision_checks"]] == [False]  # two pairs prove nothing
    text = report.text_of(alone)
    assert "precision check NOT passed" in text
    assert "no check says that torch bf16 is accurate enough" in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "no-such"}, "no model bundle"),
        ({"candidates": ("abacus",)}, "abacus"),
        ({"hypotheses": 0}, "hypotheses"),
        ({"frames": 0}, "at least one frame"),
        ({"size": "huge"}, "huge"),
        ({"candidates": ("onnxruntime fp32", "torch fp32")}, "torch fp32 cannot run here: .*--with-checkpoint"),
    ],
)
def test_a_run_that_cannot_be_is_refused_in_one_line(
    changes: dict[str, Any], reason: str, converging_bundle: Path
) -> None:
    settings = replace(BenchSettings(model=converging_bundle).quick(), **changes)
    with pytest.raises((InputError, BundleError), match=reason) as error:
        run_bench(settings)
    assert "\n" not in str(error.value)


def test_where_no_back_end_runs_each_reason_is_given(
    converging_bundle: Path, pictures: list[Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "render_pictures", lambda manifest, count: pictures)
    monkeypatch.setattr(run, "CANDIDATES", (Candidate.of_label("torch fp32"), Candidate.of_label("torch bf16")))
    monkeypatch.setattr(candidates, "has_bfloat16", lambda: False)
    with pytest.raises(InputError, match=r"no back end runs here \(torch fp32: .*checkpoint.*; torch bf16: .*bfloat16"):
        run_bench(BenchSettings(model=converging_bundle).quick())


def test_the_command_says_that_a_back_end_cannot_run_before_it_measures_or_exports_anything(
    converging_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("the bench went on")

    for step in ("in_size", "render_pictures", "measure_peaks", "open_candidate"):
        monkeypatch.setattr(run, step, too_late)
    monkeypatch.setattr(candidates, "has_bfloat16", lambda: False)
    model = ["--model", str(converging_bundle), "--size", "full"]
    assert cli.main(["bench", *model, "--backend", "onnxruntime fp32", "--backend", "torch bf16"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "torch bf16 cannot run here: this CPU has no bfloat16 instructions" in captured.err
