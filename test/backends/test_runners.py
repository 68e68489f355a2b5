"""Runners of a bundle's graphs by name, and that all of them give the same poses."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fakes.bundle import write_bundle
from fakes.validation_pairs import validation_sampler

from geoflow_ros.backends import BackendOptions, OnnxRuntimeBackend, open_runner
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import BackendError, BundleError, InputError
from geoflow_ros.evaluation.synthetic import as_patch
from geoflow_ros.geo.angles import wrap_to_pi
from geoflow_ros.inference import SearchSettings
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer
from geoflow_ros.inference.camera_calibration import EXTRINSICS
from geoflow_ros.world.pairs import Pair

BIRDS_EYE = Path(__file__).resolve().parents[2] / "models" / "birds_eye"
OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("openvino", "torch")
]
PAIRS = 3


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(write_bundle(tmp_path_factory.mktemp("bundles")))


def test_a_runner_gives_every_output_of_a_graph_by_its_name(colours: Bundle) -> None:
    runner = open_runner(colours, BackendOptions("onnxruntime", threads=1))
    generator = np.random.default_rng(3)
    feed = {
        "f_vis": generator.normal(size=(2, 128)).astype(np.float32),
        "hypotheses": generator.uniform(-1.0, 1.0, (2, 5, 2)).astype(np.float32),
        "step": np.float32(0.5),
    }
    found = runner.run("head", {name: np.asarray(value) for name, value in feed.items()})
    wanted = OnnxRuntimeBackend(colours).head(feed["f_vis"], feed["hypotheses"], 0.5)
    assert set(found) == {"mu_log_r", "var_log_r", "direction", "kappa", "refined"}
    for name, value in found.items():
        np.testing.assert_allclose(value, getattr(wanted, name), atol=1e-6)


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle.load(BIRDS_EYE)


@pytest.fixture(scope="module")
def pairs(shipped: Bundle) -> list[Pair]:
    sampler = validation_sampler(shipped.manifest, seed=5, conditions="road")
    return [sampler.pair(index) for index in range(PAIRS)]


def answers(bundle: Bundle, backend: str, pairs: list[Pair], search: SearchSettings) -> list[BirdsEyeFix]:
    localizer = BirdsEyeLocalizer(bundle, open_runner(bundle, BackendOptions(backend, device="cpu")), search)
    fixes = []
    for pair in pairs:
        localizer.forget()
        fixes.append(localizer.localize(pair.ground, as_patch(pair, bundle.manifest)))
    return fixes


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize(
    "search",
    [
        SearchSettings(),
        SearchSettings(camera=EXTRINSICS),
        SearchSettings(max_heading_error_rad=math.pi),
    ],
    ids=["camera known", "camera unknown", "any heading"],
)
def test_every_engine_gives_the_same_poses(
    shipped: Bundle, pairs: list[Pair], backend: str, search: SearchSettings
) -> None:
    wanted, found = (answers(shipped, name, pairs, search) for name in ("onnxruntime", backend))
    for one, other in zip(wanted, found, strict=True):
        assert other.position == pytest.approx(one.position, abs=0.01)
        assert one.yaw_rad is not None
        assert other.yaw_rad is not None
        assert abs(math.degrees(wrap_to_pi(other.yaw_rad - one.yaw_rad))) <= 0.05
        assert other.assessment.trustworthy == one.assessment.trustworthy
        np.testing.assert_allclose(other.pose_covariance, one.pose_covariance, rtol=0.02, atol=1e-5)


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_a_graph_that_was_changed_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path))
    path = bundle.graph_path("head")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="was changed"):
        open_runner(bundle, BackendOptions("openvino"))


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("onnxruntime", "onnxruntime failed"),
        pytest.param(
            "openvino",
            "OpenVINO failed",
            marks=pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed"),
        ),
    ],
)
def test_inputs_of_another_shape_fail_in_one_line(shipped: Bundle, backend: str, words: str) -> None:
    runner = open_runner(shipped, BackendOptions(backend))
    with pytest.raises(BackendError, match=words) as caught:
        runner.run("satellite_encoder", {"satellite": np.zeros((1, 3, 3, 3), np.uint8)})
    assert "\n" not in str(caught.value)


def test_a_precision_that_the_runner_has_not_is_refused(colours: Bundle) -> None:
    with pytest.raises(InputError, match="fp32 here, not in bf16"):
        open_runner(colours, BackendOptions(precision="bf16"))
