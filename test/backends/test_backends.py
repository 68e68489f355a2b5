"""What every back end does alike, on the same frames: one suite for onnxruntime, OpenVINO, torch and TensorRT.

onnxruntime in float32 is what the others are compared with. A back end that cannot run here is skipped with its reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.backends import Backend, OnnxRuntimeBackend, cpu
from geoflow_ros.backends.host_frames import refine
from geoflow_ros.backends.protocol import FrameOutput, HeadOutput
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import synthetic
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.inference.irs import mean_estimate, sample_hypotheses
from geoflow_ros.inference.posterior import probe_grid
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world.pairs import Area

NO_BFLOAT16 = "this CPU has no bfloat16 instructions"
TOLERANCE_M = {"fp32": 0.01, "bf16": 0.05, "fp16": 0.05}
STEP = 0.5
PAIRS = 4  # rendered, for as many cameras at once


@dataclass(frozen=True)
class Case:
    """A back end on a bundle, beside onnxruntime on the same."""

    bundle: Bundle
    backend: Backend
    reference: Backend
    ground: UInt8Array  # (PAIRS, H, W, 3)
    satellite: UInt8Array  # (PAIRS, P, P, 3)

    def run(
        self,
        backend: Backend,
        cameras: int = 1,
        hypotheses: int = 10,
        iterations: int = 5,
        first: int = 0,
        step: float = STEP,
    ) -> FrameOutput:
        """A frame of the pairs from `first` on."""
        chosen = slice(first, first + cameras)
        tokens = backend.satellite_tokens(self.satellite[chosen])
        start = sample_hypotheses(cameras, hypotheses, 1, first)
        return backend.frame(self.ground[chosen], tokens, start, probe_grid(), step, iterations)

    def metres(self, path: Float32Array) -> Float64Array:
        """The answers (B, 2) of a path."""
        return mean_estimate(path[-1]) * self.bundle.manifest.search_radius_m

    @property
    def tolerance_m(self) -> float:
        return TOLERANCE_M[self.backend.precision]


def open_onnxruntime(bundle: Bundle, checkpoint: Path | None, precision: str, cache: Path) -> Backend:
    return OnnxRuntimeBackend(bundle, threads=1)


def open_openvino(bundle: Bundle, checkpoint: Path | None, precision: str, cache: Path) -> Backend:
    pytest.importorskip("openvino")
    from geoflow_ros.backends.openvino_backend import OpenVinoBackend
    from geoflow_ros.backends.openvino_engine import has_bfloat16

    if precision == "bf16" and not has_bfloat16():
        pytest.skip(NO_BFLOAT16)
    return OpenVinoBackend(bundle, precision, cache_dir=cache)


def open_torch(bundle: Bundle, checkpoint: Path | None, precision: str, cache: Path, device: str = "cpu") -> Backend:
    torch = pytest.importorskip("torch")
    if device != "cpu" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA GPU")
    if device == "cpu" and precision == "bf16" and not cpu.has_bfloat16():
        pytest.skip(f"{NO_BFLOAT16}: torch would take minutes to emulate them")
    from geoflow_ros.backends.torch_backend import TorchBackend
    from geoflow_ros.model import load_checkpoint

    return TorchBackend(bundle if checkpoint is None else load_checkpoint(checkpoint), device, precision)


def open_tensorrt(bundle: Bundle, checkpoint: Path | None, precision: str, cache: Path) -> Backend:
    from geoflow_ros.backends.tensorrt.api import TensorRt, installed_flavours
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend
    from geoflow_ros.backends.tensorrt.cuda import Cuda
    from geoflow_ros.backends.tensorrt.engine import float16_folder

    try:
        capability = Cuda().compute_capability
    except InputError as error:  # no GPU, no driver or no cuda-python
        pytest.skip(str(error))
    flavour = next(iter(installed_flavours()), None)
    if flavour is None:
        pytest.skip("neither tensorrt nor tensorrt_rtx is installed")
    buildable = TensorRt(flavour).compute_capabilities  # none: for the GPU at hand
    if buildable and capability not in buildable:
        pytest.skip(f"{flavour} builds nothing for {capability}")
    if precision == "fp16":
        from geoflow_ros.export.float16 import write_float16_bundle

        graphs = cache / float16_folder(capability)
        graphs.mkdir()
        write_float16_bundle(bundle, graphs, products=capability == "sm75")
    return TensorRtBackend(bundle, engines=cache, precision=precision)


BACKENDS = [
    pytest.param((open_onnxruntime, "fp32"), id="onnxruntime-fp32"),
    pytest.param((open_openvino, "fp32"), id="openvino-fp32"),
    pytest.param((open_openvino, "bf16"), id="openvino-bf16"),
    pytest.param((open_torch, "fp32"), id="torch-fp32"),
    pytest.param((open_torch, "bf16"), id="torch-bf16"),
    pytest.param((partial(open_torch, device="cuda:0"), "fp32"), id="torch-cuda-fp32"),
    pytest.param((partial(open_torch, device="cuda:0"), "fp16"), id="torch-cuda-fp16"),
    pytest.param((open_tensorrt, "fp32"), id="tensorrt-fp32"),
    pytest.param((open_tensorrt, "fp16"), id="tensorrt-fp16"),
]
Opener = Callable[[Bundle, "Path | None", str, Path], Backend]


@pytest.fixture(scope="module")
def pictures(shipped_bundle: Bundle) -> tuple[UInt8Array, UInt8Array]:
    """Camera images (PAIRS, H, W, 3) and patches (PAIRS, P, P, 3), rendered once in the shipped model's size."""
    sampler = synthetic.sampler_for(shipped_bundle.manifest, synthetic.Protocol(Area.SAME, PAIRS, seed=3))
    pairs = [sampler.pair(index) for index in range(PAIRS)]
    return np.stack([pair.ground for pair in pairs]), np.stack([pair.satellite for pair in pairs])


def case_of(
    bundle: Bundle,
    checkpoint: Path | None,
    how: tuple[Opener, str],
    cache: Path,
    pictures: tuple[UInt8Array, UInt8Array],
) -> Case:
    opener, precision = how
    backend = opener(bundle, checkpoint, precision, cache)
    assert backend.precision == precision
    return Case(bundle, backend, OnnxRuntimeBackend(bundle, threads=1), *pictures)


@pytest.fixture(scope="module", params=BACKENDS)
def case(
    request: pytest.FixtureRequest,
    small_bundle: Bundle,
    converging_checkpoint: Path,
    pictures: tuple[UInt8Array, UInt8Array],
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    """Small images and a head that converges: what is compared is the machinery."""
    manifest = small_bundle.manifest
    ground = resized(pictures[0], manifest.ground.height_px, manifest.ground.width_px)
    satellite = resized(pictures[1], manifest.satellite.size_px, manifest.satellite.size_px)
    cache = tmp_path_factory.mktemp("cache")
    return case_of(small_bundle, converging_checkpoint, request.param, cache, (ground, satellite))


@pytest.fixture(scope="module", params=BACKENDS)
def trained(
    request: pytest.FixtureRequest,
    shipped_bundle: Bundle,
    pictures: tuple[UInt8Array, UInt8Array],
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    """The shipped weights, whose answers depend on the pictures."""
    return case_of(shipped_bundle, None, request.param, tmp_path_factory.mktemp("cache"), pictures)


def resized(pictures: UInt8Array, height: int, width: int) -> UInt8Array:
    return np.stack([cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in pictures])


def test_the_shipped_weights_answer_as_in_float32(trained: Case) -> None:
    wanted = trained.metres(trained.run(trained.reference, PAIRS).path)
    found = trained.metres(trained.run(trained.backend, PAIRS).path)
    assert np.ptp(wanted, axis=0).max() > 1.0  # the pairs are not all alike
    difference_m = np.linalg.norm(found - wanted, axis=-1)
    # where the pictures say little, eight bits of mantissa move an answer that is metres uncertain by more than others
    usual = np.max if trained.backend.precision == "fp32" else np.median
    assert usual(difference_m) < trained.tolerance_m
    assert difference_m.max() < 5.0 * trained.tolerance_m


@pytest.mark.parametrize(("hypotheses", "iterations"), [(1, 1), (10, 5), (1000, 1), (10, 20), (1000, 20)])
def test_any_number_of_hypotheses_and_iterations(case: Case, hypotheses: int, iterations: int) -> None:
    # so that the last steps are short of the goal: on it, a direction means nothing, and rounding would choose it
    step = min(STEP, 2.0 / iterations)
    wanted = case.run(case.reference, 1, hypotheses, iterations, step=step)
    found = case.run(case.backend, 1, hypotheses, iterations, step=step)
    assert found.path.shape == (iterations + 1, 1, hypotheses, 2)
    assert found.path.dtype == np.float32
    assert np.array_equal(found.path[0], wanted.path[0])  # the start itself
    # the mean of the hypotheses, from the start to the end
    difference = np.linalg.norm(mean_estimate(found.path) - mean_estimate(wanted.path), axis=-1)
    assert difference.max() * case.bundle.manifest.search_radius_m < case.tolerance_m
    assert np.abs(found.path[-1] - found.path[0]).max() > 0.1  # and they did move


def test_several_cameras_at_once_are_each_answered_as_alone(trained: Case) -> None:
    backend, start = trained.backend, sample_hypotheses(1, 10, 1)
    alone = []
    for camera in range(PAIRS):
        own = slice(camera, camera + 1)
        tokens = backend.satellite_tokens(trained.satellite[own])
        frame = backend.frame(trained.ground[own], tokens, start, probe_grid(), STEP, 5)
        alone.append(trained.metres(frame.path)[0])
    for cameras in (2, 3, 4):
        tokens = backend.satellite_tokens(trained.satellite[:cameras])
        starts = np.repeat(start, cameras, axis=0)
        together = backend.frame(trained.ground[:cameras], tokens, starts, probe_grid(), STEP, 5)
        assert together.path.shape == (6, cameras, 10, 2)
        assert together.probed.mu_log_r.shape == (cameras, len(probe_grid()))
        answers = trained.metres(together.path)
        for camera in range(cameras):
            distance_m = np.linalg.norm(answers - alone[camera], axis=-1)
            assert distance_m[camera] < trained.tolerance_m
            assert np.delete(distance_m, camera).min() > 2.0 * trained.tolerance_m  # the others are elsewhere


@pytest.mark.parametrize("cameras", [1, 3])
def test_the_probes_are_answered_as_the_head_answers_them(case: Case, cameras: int) -> None:
    probes = probe_grid()
    found = case.run(case.backend, cameras).probed
    tokens = case.reference.satellite_tokens(case.satellite[:cameras])
    features = case.reference.f_vis(case.ground[:cameras], tokens)
    wanted = case.reference.head(features, np.repeat(probes[None], cameras, axis=0), STEP)
    assert found.mu_log_r.shape == found.var_log_r.shape == found.kappa.shape == (cameras, len(probes))
    assert found.direction.shape == found.refined.shape == (cameras, len(probes), 2)
    assert found.orientation is not None
    assert found.orientation.shape == (cameras, len(probes), 2)
    np.testing.assert_allclose(np.linalg.norm(found.direction, axis=-1), 1.0, atol=1e-3)
    relative = 1e-3 if case.backend.precision == "fp32" else 0.05
    assert largest_difference(found, wanted) < relative


def test_a_frame_is_its_parts(case: Case) -> None:
    tokens = case.backend.satellite_tokens(case.satellite[:2])
    start = sample_hypotheses(2, 10, 7)
    frame = case.backend.frame(case.ground[:2], tokens, start, probe_grid(), STEP, 5)
    features = case.backend.f_vis(case.ground[:2], tokens)
    path = refine(case.backend, features, start, STEP, 5)
    probed = case.backend.head(features, np.repeat(probe_grid()[None], 2, axis=0), STEP)
    np.testing.assert_allclose(frame.path, path, atol=1e-4)
    assert largest_difference(frame.probed, probed) < 1e-3
    assert min(frame.ground_ms, frame.refine_ms, frame.probe_ms) > 0.0


def test_the_step_is_chosen_at_run_time(case: Case) -> None:
    tokens = case.backend.satellite_tokens(case.satellite[:1])
    start = sample_hypotheses(1, 10, 2)
    moves = [
        case.backend.frame(case.ground[:1], tokens, start, probe_grid(), step, 1).path[1] - start
        for step in (0.25, 1.0, 0.25)
    ]
    np.testing.assert_allclose(4.0 * moves[0], moves[1], atol=1e-4)
    np.testing.assert_allclose(moves[0], moves[2], atol=1e-5)


def test_results_are_not_overwritten_by_the_next_frame(case: Case) -> None:
    tokens = case.backend.satellite_tokens(case.satellite[:1])
    start = sample_hypotheses(1, 10, 2)
    first = case.backend.frame(case.ground[:1], tokens, start, probe_grid(), STEP, 5)
    features = case.backend.f_vis(case.ground[:1], tokens)
    answer = case.backend.head(features, start, STEP)
    kept = [first.path.copy(), first.probed.mu_log_r.copy(), features.copy(), answer.refined.copy()]

    other_tokens = case.backend.satellite_tokens(case.satellite[1:2])
    second = case.backend.frame(case.ground[1:2], other_tokens, -start, probe_grid(), STEP, 5)
    other_features = case.backend.f_vis(case.ground[1:2], other_tokens)
    other_answer = case.backend.head(other_features, -start, STEP)

    for value, now in zip(kept, (first.path, first.probed.mu_log_r, features, answer.refined), strict=True):
        assert np.array_equal(value, now)
    assert not np.array_equal(second.path, first.path)
    assert not np.array_equal(other_features, features)
    assert not np.array_equal(other_answer.refined, answer.refined)
    # nor are the tokens of the patch that is still in use
    again = case.backend.frame(case.ground[:1], tokens, start, probe_grid(), STEP, 5)
    np.testing.assert_allclose(again.path, first.path, atol=1e-4)


def test_the_next_patch_is_encoded_in_another_thread_during_frames(case: Case) -> None:
    tokens = case.backend.satellite_tokens(case.satellite[:1])
    alone = case.backend.f_vis(case.ground[:1], case.backend.satellite_tokens(case.satellite[1:2]))
    start = sample_hypotheses(1, 10, 2)

    def frame() -> Float32Array:
        return case.backend.frame(case.ground[:1], tokens, start, probe_grid(), STEP, 5).path

    undisturbed = frame()
    prepared: list[object] = []
    failures: list[BaseException] = []

    def prepare() -> None:
        try:
            for _ in range(8):
                prepared.append(case.backend.satellite_tokens(case.satellite[1:2]))
        except BaseException as error:  # told by the main thread
            failures.append(error)

    thread = threading.Thread(target=prepare)
    thread.start()
    paths = [frame()]
    while thread.is_alive():
        paths.append(frame())
    thread.join()
    assert not failures
    assert len(prepared) == 8
    for path in paths:
        np.testing.assert_allclose(path, undisturbed, atol=1e-4)
    for made in prepared:
        np.testing.assert_allclose(case.backend.f_vis(case.ground[:1], made), alone, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize(("hypotheses", "iterations"), [(0, 5), (10, 0)])
def test_nothing_to_refine_is_refused_and_the_next_frame_answered(case: Case, hypotheses: int, iterations: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        case.run(case.backend, 1, hypotheses, iterations)
    assert np.isfinite(case.run(case.backend).path).all()


def test_the_localizer_gives_the_same_fix(case: Case) -> None:
    wanted, found = (
        GeoFlowLocalizer(case.bundle, backend).localize(case.ground[0], patch_of(case), stamp_ns=4)
        for backend in (case.reference, case.backend)
    )
    assert found.assessment.trustworthy
    assert wanted.assessment.trustworthy
    assert np.linalg.norm(found.position - wanted.position) < case.tolerance_m
    relative = 0.01 if case.backend.precision == "fp32" else 0.1
    deviations = [np.sqrt(np.linalg.eigvalsh(fix.covariance)) for fix in (found, wanted)]
    np.testing.assert_allclose(deviations[0], deviations[1], rtol=relative)
    timings = found.timings
    assert min(timings.ground_ms, timings.refine_ms, timings.covariance_ms) > 0.0
    assert timings.total_ms >= timings.ground_ms


def test_the_name_tells_engine_and_precision(case: Case) -> None:
    assert case.backend.precision in case.backend.name
    assert len(case.backend.name.split()) >= 3


def patch_of(case: Case) -> SatellitePatch:
    return SatellitePatch(case.satellite[0], case.bundle.manifest.patch_frame(0.0, 0.0, 0.0))


def largest_difference(found: HeadOutput, wanted: HeadOutput) -> float:
    """The difference of all outputs, relative to the largest value of each."""
    names = ("mu_log_r", "var_log_r", "direction", "kappa", "refined", "orientation")
    return max(
        float(np.abs(getattr(found, name) - getattr(wanted, name)).max() / np.abs(getattr(wanted, name)).max())
        for name in names
    )
