"""Bird's-eye bundles: exported, they answer as the checkpoint does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

import onnx  # noqa: E402
from fakes.ground_cells import TINY_BIRDS_EYE, tiny_matcher  # noqa: E402

from geoflow_ros.backends import BackendOptions, GraphRunner, open_backend, open_runner  # noqa: E402
from geoflow_ros.bundle import Bundle, CameraModel  # noqa: E402
from geoflow_ros.errors import BundleError, InputError  # noqa: E402
from geoflow_ros.export import export_bundle  # noqa: E402
from geoflow_ros.export.birds_eye import check_birds_eye_parity  # noqa: E402
from geoflow_ros.model import save_checkpoint  # noqa: E402

RELATIVE_TOLERANCE = 1e-3
CAMERAS, HEADINGS, WINDOWS = 3, 5, 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_matcher()
    with torch.no_grad():
        model.none += torch.tensor([0.3, -1.7])
        model.outside += 0.4
    return save_checkpoint(model, tmp_path_factory.mktemp("checkpoint") / "best.safetensors", {"pairs": 3})


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One that `export_bundle` compared with its checkpoint, with all headings and with those near the camera's."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    return Bundle.load(export_bundle(checkpoint, folder, with_checkpoint=True))


def test_the_manifest_says_what_the_network_was_made_for(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.method == "birds_eye"
    for name, value in vars(manifest.geometry).items():
        assert getattr(TINY_BIRDS_EYE, name) == value
    model = manifest.birds_eye
    assert model is not None
    assert (model.none, model.outside) == pytest.approx((-1.7, 0.4), abs=1e-3)  # as float16 has them
    assert model.calibration.camera_known.pairs == model.calibration.camera_unknown.pairs == 0
    assert manifest.training == {"pairs": 3}
    assert manifest.camera.horizontal_fov_deg == pytest.approx(90.0)


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_every_runner_answers_alike_for_any_number_of_cameras_headings_and_windows(
    bundle: Bundle, backend: str
) -> None:
    reference = outputs_of(open_runner(bundle, BackendOptions("onnxruntime", threads=1)), bundle)
    found = outputs_of(open_runner(bundle, BackendOptions(backend, device="cpu")), bundle)
    assert reference.keys() == found.keys()
    for name, values in reference.items():
        assert found[name].shape == values.shape, name
        assert found[name].dtype == np.float32, name
        assert np.ptp(values) > 0.0, name
        assert np.abs(found[name] - values).max() < RELATIVE_TOLERANCE * np.abs(values).max(), name


def outputs_of(runner: GraphRunner, bundle: Bundle) -> dict[str, np.ndarray]:
    """Every output of every graph, for inputs at random."""
    generator = np.random.default_rng(1)
    sizes = {"C": CAMERAS, "K": HEADINGS, "M": WINDOWS}
    outputs = {}
    for graph in bundle.manifest.graphs:
        feed = {}
        for tensor in bundle.manifest.tensors[graph].inputs:
            shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape)
            if tensor.dtype == "float32":
                feed[tensor.name] = generator.uniform(-1.0, 1.0, shape).astype(np.float32)
            else:
                feed[tensor.name] = generator.integers(0, CAMERAS if tensor.name == "camera" else 256, shape)
                feed[tensor.name] = feed[tensor.name].astype(tensor.dtype)
        outputs |= {f"{graph}.{name}": values for name, values in runner.run(graph, feed).items()}
    return outputs


def test_the_graphs_have_no_operator_that_engines_lack(bundle: Bundle) -> None:
    found = {
        node.op_type for graph in bundle.manifest.graphs for node in onnx.load(str(bundle.graph_path(graph))).graph.node
    }
    assert "GridSample" in found
    assert not found & {"DFT", "STFT", "Loop", "If", "NonZero", "GatherND"}


def test_graphs_of_other_weights_are_found_out(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="differs from the checkpoint's"):
        check_birds_eye_parity(tiny_matcher(seed=3).eval(), bundle)


def test_a_camera_given_for_a_checkpoint_that_has_its_own_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="carries its own camera"):
        export_bundle(checkpoint, tmp_path / "out", camera=CameraModel("perspective", 60.0, 2.0))


def test_back_ends_of_geoflow_refuse_a_birds_eye_bundle(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="of the method birds_eye"):
        open_backend(bundle)


def test_torch_refuses_a_checkpoint_of_another_geometry(bundle: Bundle) -> None:
    model = bundle.manifest.birds_eye
    assert model is not None
    manifest = replace(bundle.manifest, birds_eye=replace(model, camera_height_m=2.5))
    with pytest.raises(BundleError, match="another geometry"):
        open_runner(Bundle(bundle.path, manifest), BackendOptions("torch", device="cpu"))
