"""A bundle that is not what its manifest says is refused, with the reason and what to do."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.backends import OnnxRuntimeBackend
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.bundle import sha256_of
from geoflow_ros.bundle.methods import GRAPHS
from geoflow_ros.errors import BundleError, InputError

REMOVE = object()


@pytest.fixture
def copy(converging_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return shutil.copytree(converging_bundle, tmp_path / "bundle")


@pytest.fixture
def linked(converging_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose manifest a test may change; the graphs are those of all tests."""
    folder = shutil.copytree(converging_bundle, tmp_path / "bundle", copy_function=os.link)
    (folder / "manifest.json").unlink()
    shutil.copy(converging_bundle / "manifest.json", folder)
    return folder


def edit(bundle: Path, path: str, value: object) -> None:
    """Sets (or removes) the entry at a dotted path of the manifest."""
    file = bundle / "manifest.json"
    content = json.loads(file.read_text())
    *parents, last = path.split(".") if not path.startswith("files.") else ["files", path[6:]]
    target = content
    for key in parents:
        target = target[int(key) if isinstance(target, list) else key]
    if value is REMOVE:
        del target[last]
    else:
        target[last] = value
    file.write_text(json.dumps(content))


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(bundle)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_whole_bundle_is_loaded_with_all_that_its_manifest_says(converging_bundle: Path) -> None:
    bundle = Bundle.load(str(converging_bundle))
    manifest = bundle.manifest
    assert manifest.name == "converging"
    assert (manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px) == (128, 64, 256)
    assert (manifest.search_radius_m, manifest.alignment, manifest.direction_family) == (20.0, "forward-x", "angmf")
    assert (manifest.feature_size, manifest.has_orientation) == (128, True)
    assert manifest.calibration.pairs == 0
    assert manifest.training == {"data": "one offset"}
    assert set(manifest.files) == {f"{graph}.onnx" for graph in GRAPHS}


def test_the_manifest_survives_being_written_and_read(converging_bundle: Path, linked: Path) -> None:
    manifest = Bundle.load(converging_bundle).manifest
    (linked / "manifest.json").write_text(manifest.to_json())
    assert Bundle.load(linked).manifest == manifest


def test_the_shipped_manifest_is_what_would_be_written_again(shipped_bundle: Bundle) -> None:
    assert shipped_bundle.manifest.to_json() == (shipped_bundle.path / "manifest.json").read_text()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert "not a folder" in refusal(tmp_path / "absent")
    assert "not a model bundle" in refusal(tmp_path)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_missing_file_is_named(copy: Path, graph: str) -> None:
    (copy / f"{graph}.onnx").unlink()
    message = refusal(copy)
    assert f"{graph}.onnx" in message
    assert "missing" in message


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_file_with_one_changed_byte_is_named(copy: Path, graph: str) -> None:
    path = copy / f"{graph}.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    message = refusal(copy)
    assert f"{graph}.onnx" in message
    assert "does not match" in message


def test_a_truncated_file_is_refused(copy: Path) -> None:
    path = copy / "head.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    assert "does not match" in refusal(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "\x00\x01", '{"format_version": 1}'])
def test_a_damaged_manifest_is_refused(linked: Path, text: str) -> None:
    (linked / "manifest.json").write_text(text)
    assert "manifest.json" in refusal(linked)


def test_a_manifest_that_is_not_text_is_refused(linked: Path) -> None:
    (linked / "manifest.json").write_bytes(b"\xff\xfe\x00\x9f" * 10)
    assert "damaged" in refusal(linked)


def test_another_format_version_is_refused_with_both_numbers(linked: Path) -> None:
    edit(linked, "format_version", 2)
    message = refusal(linked)
    assert "is 2" in message
    assert "reads 1" in message


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("name", REMOVE, "'name' is missing"),
        ("name", "", "'name' must be a text that is not empty"),
        ("name", 3, "'name' must be a text, not a whole number"),
        ("satellite.size_px", REMOVE, "'satellite.size_px' is missing"),
        ("satellite.size_px", "128", "'satellite.size_px' must be a whole number, not a text"),
        ("satellite.size_px", True, "'satellite.size_px' must be a whole number"),
        ("satellite.size_px", 100, "not a multiple of 32"),
        ("satellite.size_px", 160, "satellite_encoder"),
        ("ground.width_px", 512, "ground_encoder"),
        ("satellite.ground_resolution_m", 0.0, "above 0"),
        ("satellite.ground_resolution_m", float("nan"), "above 0"),
        ("satellite.ground_resolution_m", float("inf"), "a number that is finite"),
        ("satellite.ground_resolution_m", 0.1, "outside the satellite patch"),
        ("search_radius_m", -20.0, "above 0"),
        ("alignment", "sideways", "known are forward-x, north-up"),
        ("camera.model", "fisheye", "known are perspective, panorama"),
        ("camera.horizontal_fov_deg", "wide", "'camera.horizontal_fov_deg' must be a number or null, not a text"),
        ("camera.aspect_ratio", REMOVE, "'camera.aspect_ratio' is missing"),
        ("direction_family", "von-mises", "known are angmf"),
        ("irs.hypotheses", 0, "'irs.hypotheses' must be a whole number of at least 1"),
        ("irs.step", 2.0, "step must be"),
        ("calibration", None, "'calibration' must be an object, not null"),
        ("calibration.forward_scale", 0.0, "'calibration.forward_scale'"),
        ("calibration.surprise", 1, "'calibration.surprise' is not an entry"),
        ("surprise", 1, "'surprise' is not an entry"),
        ("tensors.head", REMOVE, "'tensors.head' is missing"),
        ("tensors.tail", {"inputs": [], "outputs": []}, "'tensors.tail'"),
        ("tensors.head.inputs", [], "f_vis"),
        ("tensors.head.outputs", [], "outputs are none"),
        ("tensors.satellite_encoder.inputs.0.name", "image", "must be satellite"),
        ("tensors.satellite_encoder.inputs.0.name", 7, "'tensors.satellite_encoder.inputs.0.name' must be a text"),
        ("tensors.satellite_encoder.inputs.0.name", REMOVE, "'tensors.satellite_encoder.inputs.0.name' is missing"),
        ("tensors.satellite_encoder.inputs.0.axes", 4, "'tensors.satellite_encoder.inputs.0.axes' is not an entry"),
        ("tensors.satellite_encoder.inputs.0.dtype", "float32", "must be uint8"),
        ("tensors.ground_encoder.inputs.1.shape", ["B", 17, 128], "satellite_tokens"),
        ("precision_checks", [{}], "'precision_checks.0.precision' is missing"),
        ("files", {}, "no checksum of satellite_encoder.onnx"),
        ("files.head.onnx", 7, "'files.head.onnx' must be a text"),
        ("files.../elsewhere", "00", "not inside the bundle"),
    ],
)
def test_a_manifest_entry_that_no_model_can_have_is_named(linked: Path, path: str, value: object, reason: str) -> None:
    edit(linked, path, value)
    assert reason in refusal(linked)


def test_zero_is_refused_where_a_back_end_has_switched_denormal_numbers_off(linked: Path) -> None:
    OnnxRuntimeBackend(Bundle.load(linked)).head(np.zeros((1, 128), np.float32), np.zeros((1, 3, 2), np.float32), 0.5)
    edit(linked, "search_radius_m", 0.0)
    assert "'search_radius_m' must be a number above 0" in refusal(linked)


def with_graph(bundle: Path, graph: str, source: Path) -> Bundle:
    """Puts another file in the place of a graph, checksum and all."""
    shutil.copyfile(source, bundle / f"{graph}.onnx")
    edit(bundle, f"files.{graph}.onnx", sha256_of(bundle / f"{graph}.onnx"))
    return Bundle.load(bundle)


def test_a_graph_that_is_not_the_described_one_is_refused_by_the_back_end(copy: Path) -> None:
    bundle = with_graph(copy, "head", copy / "ground_encoder.onnx")
    with pytest.raises(BundleError, match="not the graph that its manifest describes"):
        OnnxRuntimeBackend(bundle)


def test_a_file_that_is_no_onnx_graph_is_refused_by_the_back_end(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"not a graph" * 100)
    bundle = with_graph(copy, "head", tmp_path / "noise")
    with pytest.raises(BundleError, match="cannot be loaded") as caught:
        OnnxRuntimeBackend(bundle)
    assert "\n" not in str(caught.value)


def test_a_provider_that_is_not_installed_is_refused_with_those_that_are(converging_bundle: Path) -> None:
    with pytest.raises(InputError, match="CPUExecutionProvider"):
        OnnxRuntimeBackend(Bundle.load(converging_bundle), providers=["AbacusExecutionProvider"])
    with pytest.raises(InputError, match="threads"):
        OnnxRuntimeBackend(Bundle.load(converging_bundle), threads=0)


def test_threads_and_batches_do_not_change_the_answers(converging_bundle: Path) -> None:
    bundle = Bundle.load(converging_bundle)
    rng = np.random.default_rng(0)
    satellite = rng.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    ground = rng.integers(0, 256, (3, 64, 256, 3), dtype=np.uint8)
    one, two = OnnxRuntimeBackend(bundle, threads=1), OnnxRuntimeBackend(bundle, threads=2)
    together = one.f_vis(ground, one.satellite_tokens(satellite))
    assert together.shape == (3, 128)
    for index in range(3):
        part = slice(index, index + 1)
        alone = two.f_vis(ground[part], two.satellite_tokens(satellite[part]))
        np.testing.assert_allclose(alone, together[part], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 17, 1000])
def test_the_head_takes_any_number_of_hypotheses_and_frames(converging_bundle: Path, count: int) -> None:
    backend = OnnxRuntimeBackend(Bundle.load(converging_bundle))
    rng = np.random.default_rng(1)
    f_vis = rng.normal(size=(2, 128)).astype(np.float32)
    hypotheses = rng.uniform(-1.0, 1.0, (2, count, 2)).astype(np.float32)
    output = backend.head(f_vis, hypotheses, 0.25)
    assert output.mu_log_r.shape == output.var_log_r.shape == output.kappa.shape == (2, count)
    assert output.direction.shape == output.refined.shape == (2, count, 2)
    assert output.orientation is not None
    assert output.orientation.shape == (2, count, 2)
    np.testing.assert_allclose(np.linalg.norm(output.direction, axis=-1), 1.0, atol=1e-5)
    moved = hypotheses + 0.25 * np.exp(output.mu_log_r)[..., None] * output.direction
    np.testing.assert_allclose(output.refined, moved, atol=1e-5)
    assert (output.var_log_r > 0.0).all()
    assert (output.kappa > 0.0).all()
