"""The OpenVINO back end answers as onnxruntime does, whatever the batch, the counts, the threads and the cache."""

import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.backends import Backend, OnnxRuntimeBackend
from geoflow_ros.backends.protocol import FrameOutput, Tokens
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.bundle import sha256_of
from geoflow_ros.errors import BackendError, BundleError, InputError
from geoflow_ros.inference.irs import mean_estimate, sample_hypotheses
from geoflow_ros.inference.posterior import probe_grid

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed (extra [openvino])")

from geoflow_ros.backends.openvino_backend import OpenVinoBackend, replace_silu  # noqa: E402
from geoflow_ros.backends.openvino_engine import has_bfloat16, openvino_core  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HAS_BFLOAT16 = has_bfloat16()
NO_BFLOAT16 = "this CPU has no bfloat16 instructions"
PRECISIONS = [
    "fp32",
    pytest.param("bf16", marks=pytest.mark.skipif(not HAS_BFLOAT16, reason=NO_BFLOAT16)),
]
TOLERANCE_M = {"fp32": 0.01, "bf16": 0.05}


@pytest.fixture(scope="module")
def bundle(small_bundle: Bundle) -> Bundle:
    return small_bundle


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(bundle, threads=1)


@pytest.fixture(scope="module")
def backends(bundle: Bundle) -> dict[str, OpenVinoBackend]:
    names = ["fp32", "bf16"] if HAS_BFLOAT16 else ["fp32"]
    return {precision: OpenVinoBackend(bundle, precision, threads=2) for precision in names}


def pictures(bundle: Bundle, batch: int, seed: int = 0) -> tuple[UInt8Array, UInt8Array]:
    """Camera images and patches with coarse colours, as a camera's are, not noise alone."""
    generator = np.random.default_rng(seed)

    def draw(height: int, width: int) -> UInt8Array:
        coarse = generator.integers(0, 236, (batch, height // 16, width // 16, 3))
        fine = generator.integers(0, 20, (batch, height, width, 3))
        return (coarse.repeat(16, axis=1).repeat(16, axis=2) + fine).astype(np.uint8)

    manifest = bundle.manifest
    size = manifest.satellite.size_px
    return draw(manifest.ground.height_px, manifest.ground.width_px), draw(size, size)


def frame(
    backend: Backend, ground: UInt8Array, tokens: Tokens, hypotheses: int = 10, iterations: int = 5, seed: int = 0
) -> FrameOutput:
    start = sample_hypotheses(len(ground), hypotheses, seed)
    return backend.frame(ground, tokens, start, probe_grid(), 0.5, iterations)


def distance_m(bundle: Bundle, output: FrameOutput, other: FrameOutput) -> Any:
    """(B,) between two answers."""
    return (
        np.linalg.norm(mean_estimate(output.path[-1]) - mean_estimate(other.path[-1]), axis=-1)
        * bundle.manifest.search_radius_m
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_answers_are_onnxruntimes_for_one_to_four_cameras(
    bundle: Bundle, reference: OnnxRuntimeBackend, backends: dict[str, OpenVinoBackend], precision: str, batch: int
) -> None:
    ground, satellite = pictures(bundle, batch, seed=batch)
    backend = backends[precision]
    wanted = frame(reference, ground, reference.satellite_tokens(satellite))
    found = frame(backend, ground, backend.satellite_tokens(satellite))
    assert found.path.shape == wanted.path.shape
    assert distance_m(bundle, found, wanted).max() < TOLERANCE_M[precision]
    for name in ("mu_log_r", "var_log_r", "direction", "kappa", "orientation"):
        value = getattr(wanted.probed, name)
        assert getattr(found.probed, name).shape == value.shape
    assert backend.precision == precision
    assert backend.name.endswith(f"CPU {precision}")


def test_float32_features_are_onnxruntimes(
    bundle: Bundle, reference: OnnxRuntimeBackend, backends: dict[str, OpenVinoBackend]
) -> None:
    ground, satellite = pictures(bundle, 1)
    tokens = reference.satellite_tokens(satellite)
    np.testing.assert_allclose(backends["fp32"].satellite_tokens(satellite), tokens, atol=1e-4 * np.abs(tokens).max())
    features = reference.f_vis(ground, tokens)
    np.testing.assert_allclose(backends["fp32"].f_vis(ground, tokens), features, atol=1e-4 * np.abs(features).max())


@pytest.mark.skipif(not HAS_BFLOAT16, reason=NO_BFLOAT16)
def test_bfloat16_features_are_within_its_rounding(
    bundle: Bundle, reference: OnnxRuntimeBackend, backends: dict[str, OpenVinoBackend]
) -> None:
    ground, satellite = pictures(bundle, 4)
    backend = backends["bf16"]
    features = reference.f_vis(ground, reference.satellite_tokens(satellite))
    found = backend.f_vis(ground, backend.satellite_tokens(satellite))
    assert found.dtype == np.float32
    assert np.sqrt(np.mean(np.square(found - features))) < 0.02 * features.std()
    assert not np.array_equal(found, features)


def test_hypotheses_and_iterations_may_change_with_every_frame(
    bundle: Bundle, reference: OnnxRuntimeBackend, backends: dict[str, OpenVinoBackend]
) -> None:
    ground, satellite = pictures(bundle, 1)
    backend = backends["fp32"]
    tokens = reference.satellite_tokens(satellite)
    for hypotheses, iterations in ((10, 5), (1, 1), (1000, 5), (3, 20), (10, 5)):
        found = frame(backend, ground, tokens, hypotheses, iterations)
        assert found.path.shape == (iterations + 1, 1, hypotheses, 2)
        assert distance_m(bundle, found, frame(reference, ground, tokens, hypotheses, iterations))[0] < 0.01


def test_results_are_not_overwritten_by_the_next_call(bundle: Bundle, backends: dict[str, OpenVinoBackend]) -> None:
    backend = backends["fp32"]
    ground, satellite = pictures(bundle, 1, seed=1)
    other_ground, other_satellite = pictures(bundle, 1, seed=2)
    tokens = backend.satellite_tokens(satellite)
    features = backend.f_vis(ground, tokens)
    kept = tokens.copy(), features.copy()
    backend.f_vis(other_ground, backend.satellite_tokens(other_satellite))
    np.testing.assert_array_equal(tokens, kept[0])
    np.testing.assert_array_equal(features, kept[1])


def test_images_need_not_be_contiguous(bundle: Bundle, backends: dict[str, OpenVinoBackend]) -> None:
    ground, satellite = pictures(bundle, 1)
    backend = backends["fp32"]
    tokens = backend.satellite_tokens(satellite)
    np.testing.assert_array_equal(
        backend.satellite_tokens(np.asfortranarray(satellite)), backend.satellite_tokens(satellite)
    )
    mirrored = ground[:, :, ::-1]
    np.testing.assert_array_equal(backend.f_vis(mirrored, tokens), backend.f_vis(mirrored.copy(), tokens))


def test_the_next_patch_may_be_encoded_while_a_frame_runs(bundle: Bundle, backends: dict[str, OpenVinoBackend]) -> None:
    backend = backends["fp32"]
    ground, satellite = pictures(bundle, 1, seed=3)
    _, next_satellite = pictures(bundle, 1, seed=4)
    tokens, next_tokens = backend.satellite_tokens(satellite), backend.satellite_tokens(next_satellite)
    path = frame(backend, ground, tokens).path
    with ThreadPoolExecutor(3) as pool:
        encoded = [pool.submit(backend.satellite_tokens, next_satellite) for _ in range(20)]
        answered = [pool.submit(frame, backend, ground, tokens) for _ in range(20)]
        for job in encoded:
            np.testing.assert_allclose(job.result(), next_tokens, rtol=1e-5, atol=1e-5)
        for job in answered:
            np.testing.assert_allclose(job.result().path, path, atol=1e-5)


@pytest.mark.parametrize("threads", [None, 1, 2, 64])
def test_any_number_of_threads_gives_the_same_answer(
    bundle: Bundle, reference: OnnxRuntimeBackend, threads: int | None
) -> None:
    ground, satellite = pictures(bundle, 1)
    backend = OpenVinoBackend(bundle, threads=threads)
    found = frame(backend, ground, backend.satellite_tokens(satellite))
    assert distance_m(bundle, found, frame(reference, ground, reference.satellite_tokens(satellite)))[0] < 0.01


def test_compiled_graphs_are_kept_and_used_again(bundle: Bundle, tmp_path: Path) -> None:
    ground, satellite = pictures(bundle, 1)
    folder = tmp_path / "new" / "cache"
    first = OpenVinoBackend(bundle, threads=1, cache_dir=folder)
    kept = sorted(folder.iterdir())
    assert kept
    second = OpenVinoBackend(bundle, threads=1, cache_dir=folder)
    assert sorted(folder.iterdir()) == kept
    tokens = first.satellite_tokens(satellite)
    np.testing.assert_array_equal(second.satellite_tokens(satellite), tokens)
    np.testing.assert_array_equal(second.f_vis(ground, tokens), first.f_vis(ground, tokens))


def test_a_damaged_cache_is_compiled_again(bundle: Bundle, tmp_path: Path) -> None:
    _, satellite = pictures(bundle, 1)
    tokens = OpenVinoBackend(bundle, threads=1, cache_dir=tmp_path).satellite_tokens(satellite)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    again = OpenVinoBackend(bundle, threads=1, cache_dir=tmp_path)
    np.testing.assert_allclose(again.satellite_tokens(satellite), tokens, rtol=1e-5, atol=1e-5)


def test_a_cache_that_cannot_be_written_is_noted_and_done_without(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, satellite = pictures(bundle, 1)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with caplog.at_level(logging.WARNING, "geoflow_ros"):
        backend = OpenVinoBackend(bundle, threads=1, cache_dir=blocked)
    assert str(blocked) in caplog.text
    assert np.isfinite(backend.satellite_tokens(satellite)).all()


def test_without_the_package_the_message_names_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"geoflow_ros\[openvino\]"):
        OpenVinoBackend(bundle)


def test_what_it_cannot_run_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="fp32 or bf16"):
        OpenVinoBackend(bundle, "fp16")
    with pytest.raises(InputError, match="threads"):
        OpenVinoBackend(bundle, threads=0)


def test_images_of_another_size_are_an_error_in_one_line_and_the_next_call_works(
    bundle: Bundle, backends: dict[str, OpenVinoBackend]
) -> None:
    ground, satellite = pictures(bundle, 1)
    backend = backends["fp32"]
    tokens = backend.satellite_tokens(satellite)
    with pytest.raises(BackendError) as caught:
        backend.f_vis(ground[:, :32], tokens)
    assert "\n" not in str(caught.value)
    assert np.isfinite(backend.f_vis(ground, tokens)).all()


def test_a_bundle_that_is_replaced_while_it_runs_does_not_mix_its_weights(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.path, folder)
    backend = OpenVinoBackend(Bundle.load(folder), threads=1)
    path = folder / "satellite_encoder.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    _, satellite = pictures(bundle, 2)
    assert np.isfinite(backend.satellite_tokens(satellite[:1])).all()
    with pytest.raises(BundleError, match="start again"):
        backend.satellite_tokens(satellite)


@pytest.mark.parametrize("content", [b"no graph", "head.onnx"])
def test_a_graph_that_is_not_the_manifests_is_refused(bundle: Bundle, tmp_path: Path, content: bytes | str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.path, folder)
    path = folder / "ground_encoder.onnx"
    path.write_bytes(content if isinstance(content, bytes) else (folder / content).read_bytes())
    files = {**bundle.manifest.files, path.name: sha256_of(path)}
    broken = Bundle(folder, replace(bundle.manifest, files=files))
    with pytest.raises(BundleError, match="export the bundle again") as caught:
        OpenVinoBackend(broken)
    assert "\n" not in str(caught.value)


def test_a_signal_after_back_ends_went_is_no_end_of_the_process(converging_bundle: Path) -> None:
    code = f"""
import gc, os, signal, time
from pathlib import Path
from geoflow_ros.bundle import Bundle
from geoflow_ros.backends.openvino_backend import OpenVinoBackend
bundle = Bundle.load(Path({str(converging_bundle)!r}))
first, second = OpenVinoBackend(bundle), OpenVinoBackend(bundle)
del first
gc.collect()
del second
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10.0)
except KeyboardInterrupt:
    print("interrupted")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "interrupted\n", "")


def silu_model(shape: list[int]) -> Any:
    ops = openvino.opset13
    x = ops.parameter(shape, np.float32)
    return openvino.Model([ops.result(ops.multiply(ops.sigmoid(x), x))], [x])


def test_the_quick_silu_is_exact_to_a_tenth_of_bfloat16s_rounding_at_any_input() -> None:
    x = np.concatenate([np.linspace(-60.0, 60.0, 99_999), [-3e38, -1e4, 1e4, 3e38], [0.0] * 21]).astype(np.float32)
    model = silu_model([1, 1, 8, len(x) // 8])
    assert replace_silu(model) == 1
    compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([x.reshape(1, 1, 8, -1)])[0].ravel()
    exact = x / (1.0 + np.exp(-np.clip(x.astype(np.float64), -700.0, 700.0)))
    assert np.isfinite(found).all()
    assert (np.abs(found - exact) <= 2e-4 + 1e-5 * np.abs(exact)).all()


def test_pooled_values_and_other_gates_keep_their_sigmoid() -> None:
    pooled = silu_model([1, 8, 1, 1])
    assert replace_silu(pooled) == 0
    ops = openvino.opset13
    x, y = ops.parameter([1, 8, 4, 4], np.float32), ops.parameter([1, 8, 4, 4], np.float32)
    gated = openvino.Model([ops.result(ops.multiply(y, ops.sigmoid(x)))], [x, y])
    assert replace_silu(gated) == 0
