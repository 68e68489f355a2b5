"""Bundles with dense flow: exported, they answer as the checkpoint does, from the mode and from zero."""

from __future__ import annotations

import json
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
from geoflow_ros.export import export_bundle  # noqa: E402
from geoflow_ros.inference import open_localizer  # noqa: E402
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix  # noqa: E402
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


def test_a_flow_that_determines_no_pose_leaves_the_mode(from_mode: Bundle) -> None:
    runner = open_runner(from_mode, BackendOptions("onnxruntime", threads=1))
    localizer = open_localizer(from_mode, BackendOptions("onnxruntime", threads=1))

    class NoFlow:
        name, precision = runner.name, runner.precision

        def run(self, graph: str, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            outputs = runner.run(graph, feed)
            if graph == FLOW_REFINEMENT:
                outputs["covariance"] = np.full((1, 3, 3), np.inf, np.float32)
            return outputs

    localizer._runner = NoFlow()  # type: ignore[attr-defined]
    fix = localizer.localize(IMAGE, patch_at(from_mode))
    assert isinstance(fix, BirdsEyeFix)
    assert fix.flow is None
    np.testing.assert_allclose(fix.frame.enu_to_local(fix.position), fix.posterior.estimate().pose[:2], atol=1e-9)


def test_from_zero_the_flow_is_the_answer_and_nothing_is_matched(from_zero: Bundle) -> None:
    runner = open_runner(from_zero, BackendOptions("onnxruntime", threads=1))
    localizer, calls = open_localizer(from_zero, BackendOptions("onnxruntime", threads=1)), []

    class Noting:
        name, precision = runner.name, runner.precision

        def run(self, graph: str, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            calls.append(graph)
            return runner.run(graph, feed)

    localizer._runner = Noting()  # type: ignore[attr-defined]
    fix = localizer.localize(IMAGE, patch_at(from_zero, 100.0, -50.0, 0.7), stamp_ns=7)
    assert FLOW_REFINEMENT in calls
    assert COARSE_MATCHER not in calls
    assert fix.assessment.trustworthy
    assert fix.pose_covariance is not None
    assert np.linalg.eigvalsh(fix.pose_covariance)[0] > 0.0
    assert np.hypot(*(fix.position - [100.0, -50.0])) > 1e-3
    assert fix.stamp_ns == 7


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
