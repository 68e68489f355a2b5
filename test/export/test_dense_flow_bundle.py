"""Bundles with dense flow: exported, they answer as the checkpoint does, from the mode and from zero."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from fakes.ground_cells import TINY_BIRDS_EYE  # noqa: E402
from fakes.heads import patch_at, picture  # noqa: E402

from geoflow_ros.backends import BackendOptions, open_runner  # noqa: E402
from geoflow_ros.bundle import Bundle  # noqa: E402
from geoflow_ros.bundle.methods import COARSE_MATCHER, FLOW_REFINEMENT  # noqa: E402
from geoflow_ros.errors import BundleError, InputError  # noqa: E402
from geoflow_ros.evaluation.evidence import fit_evidence  # noqa: E402
from geoflow_ros.export import export_bundle  # noqa: E402
from geoflow_ros.inference import SearchSettings, open_localizer  # noqa: E402
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix  # noqa: E402
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer  # noqa: E402
from geoflow_ros.inference.camera_calibration import EXTRINSICS  # noqa: E402
from geoflow_ros.model import DenseFlow, DenseFlowConfig, save_checkpoint  # noqa: E402
from geoflow_ros.model.dense_flow import flow_from_zero  # noqa: E402

TINY_FLOW = DenseFlowConfig(fine_reach=4, coarse_reach=3, hidden=6, motion=8, iterations=2)
FROM_ZERO = flow_from_zero(TINY_BIRDS_EYE, replace(TINY_FLOW, radius=2))
IMAGE = picture((32, 128, 3))


def exported(folder: Path, config: DenseFlowConfig) -> Bundle:
    torch.manual_seed(5)
    model = DenseFlow(TINY_BIRDS_EYE, config)
    for part in model.decoder.head[-1].parameters():
        torch.nn.init.normal_(part, std=0.2)
    checkpoint = save_checkpoint(model, folder / "flow.safetensors")
    return Bundle.load(export_bundle(checkpoint, folder / "bundle", with_checkpoint=True))


@pytest.fixture(scope="module")
def from_mode(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(tmp_path_factory.mktemp("mode"), TINY_FLOW)


@pytest.fixture(scope="module")
def from_zero(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(tmp_path_factory.mktemp("zero"), FROM_ZERO)


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_flow_takes_the_place_of_the_mode(from_mode: Bundle, backend: str) -> None:
    fix = open_localizer(from_mode, BackendOptions(backend, device="cpu")).localize(IMAGE, patch_at(from_mode))
    assert isinstance(fix, BirdsEyeFix)
    assert fix.flow is not None
    np.testing.assert_allclose(fix.frame.enu_to_local(fix.position), fix.flow.pose[:2], atol=1e-9)
    assert fix.yaw_rad == pytest.approx(fix.frame.yaw_rad - fix.flow.pose[2])
    mode = fix.posterior.estimate().pose
    assert np.abs(fix.flow.pose - mode).max() > 1e-3
    others = fix.posterior.covariances_about(fix.flow.pose)[1]
    turned = np.diag([1.0, 1.0, -1.0])
    np.testing.assert_allclose(fix.raw_covariance, fix.flow.covariance + turned @ others @ turned)


class Watched:
    """Runs a bundle's graphs, notes which, and changes the flow's outputs."""

    def __init__(self, bundle: Bundle, **changes: np.ndarray) -> None:
        self._runner, self._changes = open_runner(bundle, BackendOptions("onnxruntime", threads=1)), changes
        self.name, self.precision = self._runner.name, self._runner.precision
        self.calls: list[str] = []

    def run(self, graph: str, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls.append(graph)
        outputs = self._runner.run(graph, feed)
        return {**outputs, **self._changes} if graph == FLOW_REFINEMENT else outputs


UNDETERMINED = np.full((1, 3, 3), np.inf, np.float32)


def test_a_flow_that_determines_no_pose_leaves_the_mode(from_mode: Bundle) -> None:
    fix = BirdsEyeLocalizer(from_mode, Watched(from_mode, covariance=UNDETERMINED)).localize(IMAGE, patch_at(from_mode))
    assert isinstance(fix, BirdsEyeFix)
    assert fix.flow is None
    np.testing.assert_allclose(fix.frame.enu_to_local(fix.position), fix.posterior.estimate().pose[:2], atol=1e-9)


def test_from_zero_the_flow_is_the_answer_and_nothing_is_matched(from_zero: Bundle) -> None:
    runner = Watched(from_zero)
    localizer = BirdsEyeLocalizer(from_zero, runner, SearchSettings(camera=EXTRINSICS))
    fix = localizer.localize(IMAGE, patch_at(from_zero, 100.0, -50.0, 0.7), stamp_ns=7)
    assert FLOW_REFINEMENT in runner.calls
    assert COARSE_MATCHER not in runner.calls
    assert fix.assessment.trustworthy
    assert fix.pose_covariance is not None
    assert np.linalg.eigvalsh(fix.pose_covariance)[0] > 0.0
    assert np.hypot(*(fix.position - [100.0, -50.0])) > 1e-3
    assert fix.stamp_ns == 7


def test_from_zero_a_flow_that_determines_no_pose_is_not_trusted(from_zero: Bundle) -> None:
    localizer = BirdsEyeLocalizer(from_zero, Watched(from_zero, covariance=UNDETERMINED))
    fix = localizer.localize(IMAGE, patch_at(from_zero))
    assert fix.assessment.reason == "the flow determines no pose on the patch"
    assert fix.covariance == pytest.approx(np.eye(2) * fix.search_radius_m**2 / 3.0)


def test_flow_from_zero_has_no_posterior_to_weigh(from_zero: Bundle) -> None:
    with pytest.raises(InputError, match="no posterior to weigh"):
        fit_evidence(from_zero.path, 9, 0)


def test_a_checkpoint_of_an_ablation_is_not_exported(tmp_path: Path) -> None:
    model = DenseFlow(TINY_BIRDS_EYE, replace(FROM_ZERO, without="projection"))
    checkpoint = save_checkpoint(model, tmp_path / "flow.safetensors")
    with pytest.raises(InputError, match="trained without projection"):
        export_bundle(checkpoint, tmp_path / "bundle")


def test_a_start_that_does_not_exist_is_named(from_mode: Bundle, tmp_path: Path) -> None:
    content = json.loads((from_mode.path / "manifest.json").read_text())
    content["birds_eye"]["flow_start"] = "anywhere"
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"'birds_eye.flow_start' is 'anywhere', known are .*mode, zero"):
        Bundle.load(tmp_path)
