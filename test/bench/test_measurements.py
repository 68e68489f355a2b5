"""Single measurements: stages, sweep, a drive over patches, the machine, another image size."""

from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.bench.machine import describe_machine, measure_peaks
from geoflow_ros.bench.patch_change import measure_patch_change
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.sizes import in_size
from geoflow_ros.bench.stages import STAGES, StageTimes, measure_stages
from geoflow_ros.bench.sweep import MANY, Sweep, SweepPoint, measure_sweep, settings_of
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.inference import GeoFlowLocalizer


def test_the_pictures_have_the_sizes_of_a_camera_and_of_the_model(
    bundle: Bundle, pictures: list[Pictures], tmp_path: Path
) -> None:
    image = pictures[0].decode()
    assert image.shape == (80, 320, 3)  # a quarter more than 64 x 256
    assert pictures[0].satellite.shape == (128, 128, 3)
    assert not np.array_equal(pictures[0].satellite, pictures[1].satellite)
    assert pictures[0].patch(bundle.manifest) is not pictures[0].patch(bundle.manifest)
    pictures[0].save(tmp_path / "pictures.npz")
    loaded = Pictures.load(tmp_path / "pictures.npz")
    assert np.array_equal(loaded.decode(), image)
    assert np.array_equal(loaded.satellite, pictures[0].satellite)


def test_stages_are_parts_of_the_total(localizer: GeoFlowLocalizer, pictures: list[Pictures]) -> None:
    times = measure_stages(localizer, pictures, frames=6, kept=True)
    assert set(times.ms) == set(STAGES)
    assert all(len(values) == 6 for values in times.ms.values())
    assert max(times.ms["satellite"]) < 0.5 * times.median("ground")  # the tokens were kept
    parts = sum(np.array(times.ms[stage]) * (times.iterations if stage == "refinement" else 1) for stage in STAGES[:-1])
    assert (parts <= np.array(times.ms["total"]) + 1e-6).all()
    new = measure_stages(localizer, pictures, frames=3, kept=False)
    assert min(new.ms["satellite"]) > 10.0 * times.median("satellite")


def test_the_refinements_share_counts_all_iterations() -> None:
    ms = {stage: [1.0, 1.0, 1.0] for stage in STAGES} | {"total": [20.0, 10.0, 40.0], "refinement": [0.2, 0.1, 0.3]}
    times = StageTimes(ms, iterations=5)
    assert times.refinement_share == pytest.approx(5 * 0.2 / 20.0)
    assert times.as_json()["stages_ms"]["total"]["p50"] == 20.0
    assert times.as_json()["frames_per_second"] == pytest.approx(3000.0 / 70.0)


def test_the_sweep_measures_every_setting_and_puts_the_settings_back(
    localizer: GeoFlowLocalizer, pictures: list[Pictures]
) -> None:
    before = localizer.settings
    choices = settings_of([1], [2])
    assert choices == [(1, 5), (10, 2), (10, 5), (1000, 2), (1000, 5)]
    sweep = measure_sweep(localizer, pictures[0], choices, rounds=2)
    assert [(p.hypotheses, p.iterations) for p in sweep.points] == choices
    assert localizer.settings == before
    assert sweep.at(MANY, 5).refine_ms > sweep.at(1, 5).refine_ms


def test_the_ratio_is_that_of_a_hundred_times_as_many_hypotheses() -> None:
    sweep = Sweep((SweepPoint(10, 5, 20.0, 1.0), SweepPoint(1000, 5, 30.0, 11.0), SweepPoint(1000, 1, 99.0, 2.0)))
    assert sweep.ratio == 1.5
    assert sweep.as_json()["ratio_1000_to_10_hypotheses"] == 1.5


def test_a_drive_changes_its_patch_in_the_background(localizer: GeoFlowLocalizer, pictures: list[Pictures]) -> None:
    drive = measure_patch_change(localizer, pictures[0], frames=45)
    # 44 steps of 0.51 m with a range of 5 m; the first patch is the only one that a frame may wait for
    assert drive.prepared >= 2
    assert drive.awaited == 1
    assert drive.longest_ms >= drive.alone_ms > 0.0


def test_the_machine_is_described_with_what_was_measured_on_it() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert machine["cpu"]
    assert {"geoflow_ros", "python", "numpy", "onnxruntime"} <= set(machine["versions"])
    peaks = measure_peaks(largest=512, megabytes=8)
    assert peaks.fp32_gflops > 0.1
    assert peaks.copy_gb_s > 0.1


def test_another_size_needs_the_checkpoint_and_a_known_name(bundle: Bundle) -> None:
    with in_size(bundle, "model") as same:
        assert same is bundle
    with pytest.raises(InputError, match="--with-checkpoint"), in_size(bundle, "half"):
        pass
    with pytest.raises(InputError, match="half, full"), in_size(bundle, "huge"):
        pass
