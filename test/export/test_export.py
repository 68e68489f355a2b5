"""From checkpoints, ours and the authors', to bundles that answer as they do."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from geoflow_ros.backends import OnnxRuntimeBackend  # noqa: E402
from geoflow_ros.backends.torch_backend import TorchBackend  # noqa: E402
from geoflow_ros.bundle import Bundle, Calibration, IrsSettings  # noqa: E402
from geoflow_ros.bundle.manifest import CameraModel  # noqa: E402
from geoflow_ros.bundle.methods import GRAPHS, HEAD  # noqa: E402
from geoflow_ros.bundle.tensors import GraphSpec  # noqa: E402
from geoflow_ros.errors import BundleError, CheckpointError, InputError  # noqa: E402
from geoflow_ros.export import bundle as export_module  # noqa: E402
from geoflow_ros.export import export_bundle, parity  # noqa: E402
from geoflow_ros.export.graphs import write_graph  # noqa: E402
from geoflow_ros.export.parity import check_parity, parity_images, relative_difference  # noqa: E402
from geoflow_ros.files import replace_folder  # noqa: E402
from geoflow_ros.inference import GeoFlowLocalizer  # noqa: E402
from geoflow_ros.model import GeoFlow, GeoFlowConfig, load_checkpoint  # noqa: E402
from geoflow_ros.tiles import SatellitePatch  # noqa: E402

SMALL = GeoFlowConfig(satellite_size_px=128, ground_height_px=64, ground_width_px=256, ground_resolution_m=0.7832)


@pytest.fixture(scope="module")
def authors_checkpoint(converging_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the form of the authors' release: {"model": state_dict, ...}, no sizes, no orientation."""
    weights = load_checkpoint(converging_checkpoint).state_dict()
    released = {name: weights[name] for name in GeoFlow(GeoFlowConfig()).state_dict()}
    path = tmp_path_factory.mktemp("release") / "release.pth"
    torch.save({"model": released, "epoch": 7}, path)
    return path


@pytest.fixture(scope="module")
def authors_bundle(authors_checkpoint: Path, converging_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release, exported; its encoders, which take most of that time, are those of `converging_bundle`."""

    def write(model: GeoFlow, graph: str, spec: GraphSpec, path: Path) -> None:
        if graph == HEAD:
            write_graph(model, graph, spec, path)
        else:
            path.write_bytes((converging_bundle / f"{graph}.onnx").read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "write_graph", write)
        return export_bundle(
            authors_checkpoint,
            tmp_path_factory.mktemp("models") / "release",
            name="the release",
            calibration=Calibration(1.5, 0.8, 0.3, 0.2, 2000, "held-out drives"),
            training={"data": "KITTI"},
            figures={"mean_error_m": 0.98},
            irs=IrsSettings(20, 4, 0.4),
            camera=CameraModel("perspective", 81.0, 1242 / 375),
            config=SMALL,
        )


@pytest.mark.parametrize("which", ["ours", "authors"])
def test_every_output_of_the_bundle_equals_the_checkpoints(
    which: str, converging_checkpoint: Path, converging_bundle: Path, authors_checkpoint: Path, authors_bundle: Path
) -> None:
    checkpoint, folder = {
        "ours": (converging_checkpoint, converging_bundle),
        "authors": (authors_checkpoint, authors_bundle),
    }[which]
    bundle = Bundle.load(folder)
    manifest = bundle.manifest
    wanted, found = TorchBackend(load_checkpoint(checkpoint)), OnnxRuntimeBackend(bundle)
    size = manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px
    satellite, ground = parity_images(*size, count=3, seed=11)
    hypotheses = np.random.default_rng(12).uniform(-1.0, 1.0, (3, 40, 2)).astype(np.float32)
    tokens = np.asarray(wanted.satellite_tokens(satellite))
    f_vis = wanted.f_vis(ground, tokens)
    assert relative_difference(tokens, found.satellite_tokens(satellite)) < 1e-3
    assert relative_difference(f_vis, found.f_vis(ground, tokens)) < 1e-3
    a, b = wanted.head(f_vis, hypotheses, 0.3), found.head(f_vis, hypotheses, 0.3)
    for name in ("mu_log_r", "var_log_r", "direction", "kappa", "refined"):
        assert relative_difference(getattr(a, name), getattr(b, name)) < 1e-3, name
    assert (a.orientation is None) == (b.orientation is None) == (which == "authors")
    if a.orientation is not None and b.orientation is not None:
        assert relative_difference(a.orientation, b.orientation) < 1e-3


def test_the_final_position_equals_the_checkpoints_within_a_centimetre(
    converging_checkpoint: Path, converging_bundle: Path
) -> None:
    bundle = Bundle.load(converging_bundle)
    satellite, ground = parity_images(128, 64, 256, count=1, seed=13)
    patch = SatellitePatch(satellite[0], bundle.manifest.patch_frame(0.0, 0.0, 0.0))
    fixes = [
        GeoFlowLocalizer(bundle, backend).localize(ground[0], patch)
        for backend in (TorchBackend(load_checkpoint(converging_checkpoint)), OnnxRuntimeBackend(bundle))
    ]
    assert np.linalg.norm(fixes[0].position - fixes[1].position) < 0.01
    np.testing.assert_allclose(fixes[0].raw_covariance, fixes[1].raw_covariance, rtol=0.01)


def test_the_manifest_carries_what_the_export_was_told(authors_bundle: Path) -> None:
    manifest = Bundle.load(authors_bundle).manifest
    assert manifest.name == "the release"
    assert (manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px) == (128, 64, 256)
    assert manifest.satellite.ground_resolution_m == 0.7832
    assert manifest.calibration == Calibration(1.5, 0.8, 0.3, 0.2, 2000, "held-out drives")
    assert manifest.training == {"data": "KITTI"}
    assert manifest.figures == {"mean_error_m": 0.98}
    assert manifest.irs == IrsSettings(20, 4, 0.4)
    assert manifest.camera == CameraModel("perspective", 81.0, 1242 / 375)
    assert not manifest.has_orientation


def test_images_squeezed_in_training_are_squeezed_by_the_localizer_too(authors_bundle: Path) -> None:
    bundle = Bundle.load(authors_bundle)
    patch = SatellitePatch(np.zeros((128, 128, 3), np.uint8), bundle.manifest.patch_frame(0.0, 0.0, 0.0))
    fix = GeoFlowLocalizer(bundle).localize(np.zeros((375, 1242, 3), np.uint8), patch)
    assert fix.path.shape == (5, 20, 2)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_graphs_are_single_files_of_plain_operations_and_tell_nothing_of_their_maker(
    authors_bundle: Path, graph: str
) -> None:
    path = authors_bundle / f"{graph}.onnx"
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model)
    assert not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    operations = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operations
    assert {node.domain for node in model.graph.node} == {""}
    assert {entry.version for entry in model.opset_import if entry.domain == ""} == {18}
    content = path.read_bytes()
    assert b".py" not in content
    assert b"/home" not in content
    assert b"stack_trace" not in content


def test_nothing_else_lies_beside_the_bundle(authors_bundle: Path) -> None:
    assert sorted(path.name for path in authors_bundle.parent.iterdir()) == ["release"]
    names = sorted(path.name for path in authors_bundle.iterdir())
    assert names == ["ground_encoder.onnx", "head.onnx", "manifest.json", "satellite_encoder.onnx"]


def test_a_bundle_of_other_weights_is_refused(authors_bundle: Path) -> None:
    torch.manual_seed(4)
    with pytest.raises(BundleError, match="satellite_tokens differs"):
        check_parity(GeoFlow(SMALL).eval(), Bundle.load(authors_bundle))


@pytest.fixture
def quick_graphs(monkeypatch: pytest.MonkeyPatch, authors_bundle: Path) -> None:
    """Copies graphs that were exported before instead of exporting again: these tests are about the folder."""

    def write_graph(model: GeoFlow, graph: str, spec: GraphSpec, path: Path) -> None:
        path.write_bytes((authors_bundle / f"{graph}.onnx").read_bytes())

    monkeypatch.setattr(export_module, "write_graph", write_graph)


def test_a_bundle_is_replaced_whole(tmp_path: Path, authors_checkpoint: Path, quick_graphs: None) -> None:
    out = tmp_path / "models" / "release"
    export_bundle(authors_checkpoint, out, config=SMALL, figures={"run": 1})
    export_bundle(authors_checkpoint, out, config=SMALL, figures={"run": 2})
    assert Bundle.load(out).manifest.figures == {"run": 2}
    assert Bundle.load(out).manifest.name == "release"
    assert [path.name for path in out.parent.iterdir()] == ["release"]


def test_graphs_that_answer_otherwise_leave_the_old_bundle_and_no_trace(
    tmp_path: Path, authors_checkpoint: Path, quick_graphs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export_bundle(authors_checkpoint, tmp_path / "models" / "release", config=SMALL, figures={"run": 1})
    monkeypatch.setattr(parity, "RELATIVE_TOLERANCE", 0.0)
    with pytest.raises(BundleError, match="nothing was written"):
        export_bundle(authors_checkpoint, out, config=SMALL, figures={"run": 2})
    assert json.loads((out / "manifest.json").read_text())["figures"] == {"run": 1}
    assert [path.name for path in out.parent.iterdir()] == ["release"]


def test_an_export_does_not_delete_the_checkpoint_that_it_is_made_of(
    tmp_path: Path, authors_checkpoint: Path, quick_graphs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "check_parity", lambda *_: None)  # the graphs are of weights not yet rounded
    out = export_bundle(authors_checkpoint, tmp_path / "release", config=SMALL, with_checkpoint=True)
    with pytest.raises(InputError, match="add --with-checkpoint"):
        export_bundle(out / "checkpoint", out)
    assert list((out / "checkpoint").glob("*.safetensors"))
    export_bundle(out / "checkpoint", out, with_checkpoint=True)
    assert list((out / "checkpoint").glob("*.safetensors"))


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_could_not_be_replaced_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    replace, calls = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == failing:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "content").read_text() == "old"
    assert (tmp_path / "new" / "content").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2


def test_only_bundles_are_replaced(tmp_path: Path, authors_checkpoint: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(InputError, match="something else"):
        export_bundle(authors_checkpoint, tmp_path / "precious", config=SMALL)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        export_bundle(authors_checkpoint, tmp_path / "file", config=SMALL)
    with pytest.raises(InputError, match="cannot be written"):
        export_bundle(authors_checkpoint, tmp_path / "file" / "bundle", config=SMALL)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "irreplaceable"


def test_sizes_are_not_taken_for_a_checkpoint_that_has_its_own(tmp_path: Path, converging_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="own sizes"):
        export_bundle(converging_checkpoint, tmp_path / "out", config=SMALL)


def test_a_camera_of_another_kind_than_the_checkpoints_is_refused(tmp_path: Path, converging_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="panorama"):
        export_bundle(converging_checkpoint, tmp_path / "out", camera=CameraModel("panorama", None, 2.0))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(CheckpointError):
        export_bundle(tmp_path / "noise.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()
