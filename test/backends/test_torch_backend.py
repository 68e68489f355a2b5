"""What is particular to the torch back end: where its weights come from, and what it cannot have here."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from geoflow_ros.arrays import UInt8Array  # noqa: E402
from geoflow_ros.backends import BackendOptions, open_backend  # noqa: E402
from geoflow_ros.backends.protocol import FrameOutput  # noqa: E402
from geoflow_ros.backends.torch_backend import TorchBackend  # noqa: E402
from geoflow_ros.backends.torch_network import network_of  # noqa: E402
from geoflow_ros.bundle import Bundle  # noqa: E402
from geoflow_ros.bundle.bundle import sha256_of  # noqa: E402
from geoflow_ros.errors import BackendError, BundleError, InputError  # noqa: E402
from geoflow_ros.inference.irs import sample_hypotheses  # noqa: E402
from geoflow_ros.inference.posterior import probe_grid  # noqa: E402
from geoflow_ros.model import GeoFlow, GeoFlowConfig, load_checkpoint, save_float16_parts  # noqa: E402


@pytest.fixture
def bundle(shipped_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy of the shipped bundle whose checkpoint may be taken away."""
    folder = tmp_path / "synthetic"
    folder.mkdir()
    shutil.copytree(shipped_bundle.path / "checkpoint", folder / "checkpoint")
    return Bundle(folder, shipped_bundle.manifest)


@pytest.fixture(scope="module")
def network(converging_checkpoint: Path) -> GeoFlow:
    return load_checkpoint(converging_checkpoint)


@pytest.fixture(scope="module")
def backend(network: GeoFlow) -> TorchBackend:
    return TorchBackend(network)


def pictures(config: GeoFlowConfig) -> tuple[UInt8Array, UInt8Array]:
    """A patch and a camera image of noise, which may not be written to, as the bytes of a message may not."""
    generator = np.random.default_rng(0)
    patch = generator.integers(0, 256, (1, config.satellite_size_px, config.satellite_size_px, 3), dtype=np.uint8)
    image = generator.integers(0, 256, (1, config.ground_height_px, config.ground_width_px, 3), dtype=np.uint8)
    patch.setflags(write=False)
    image.setflags(write=False)
    return patch, image


def frame_of(backend: TorchBackend, config: GeoFlowConfig, hypotheses: int = 10, iterations: int = 5) -> FrameOutput:
    patch, image = pictures(config)
    tokens = backend.satellite_tokens(patch)
    return backend.frame(image, tokens, sample_hypotheses(1, hypotheses, 0), probe_grid(), 0.5, iterations)


def test_a_bundle_without_checkpoint_says_how_to_get_one(bundle: Bundle) -> None:
    shutil.rmtree(bundle.path / "checkpoint")
    with pytest.raises(InputError, match="geoflow export --with-checkpoint"):
        TorchBackend(bundle)


def test_a_checkpoint_of_other_bytes_is_refused(bundle: Bundle) -> None:
    name = next(path.name for path in (bundle.path / "checkpoint").glob("*.safetensors"))
    checksums = {**bundle.manifest.checkpoint, name: "0" * 64}
    listed = replace(bundle, manifest=replace(bundle.manifest, checkpoint=checksums))
    with pytest.raises(BundleError, match=name):
        TorchBackend(listed)
    (bundle.path / "checkpoint" / name).unlink()
    with pytest.raises(BundleError, match=name):
        TorchBackend(listed)


def test_a_checkpoint_of_another_size_is_refused(bundle: Bundle, converging_checkpoint: Path) -> None:
    shutil.rmtree(bundle.path / "checkpoint")
    save_float16_parts(load_checkpoint(converging_checkpoint), bundle.path / "checkpoint")
    digests = {path.name: sha256_of(path) for path in (bundle.path / "checkpoint").iterdir()}
    listed = replace(bundle, manifest=replace(bundle.manifest, checkpoint=digests))
    with pytest.raises(BundleError, match="satellite size, ground resolution, .*head"):
        TorchBackend(listed)


def test_weights_that_the_manifest_does_not_name_are_refused(bundle: Bundle) -> None:
    unlisted = replace(bundle, manifest=replace(bundle.manifest, checkpoint={}))
    with pytest.raises(BundleError, match="not the file of the bundle's manifest"):
        TorchBackend(unlisted)


def test_threads_are_torchs(bundle: Bundle) -> None:
    before = torch.get_num_threads()
    try:
        open_backend(bundle, BackendOptions("torch", threads=1, device="cpu"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("device", "precision", "reason"),
    [
        ("cpu", "fp16", "choose fp32 or bf16"),
        ("cpu", "int8", "precision is 'int8'"),
        ("abacus", "fp32", "'abacus' is not a device"),
        ("meta", "fp32", "'meta' is not supported"),
        ("cuda:99", "fp32", "cuda:99"),
    ],
)
def test_what_cannot_be_had_here_is_refused_in_one_line(
    network: GeoFlow, device: str, precision: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as error:
        TorchBackend(network, device, precision)
    assert "\n" not in str(error.value)


def test_the_network_that_it_is_made_of_stays_as_it_was(network: GeoFlow) -> None:
    model = network
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    TorchBackend(model, precision="bf16")
    after = model.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_bfloat16_is_the_encoders_alone(shipped_bundle: Bundle) -> None:
    """On images so small that a CPU without such instructions answers at once."""
    trained = network_of(shipped_bundle)
    config = replace(trained.config, satellite_size_px=64, ground_height_px=32, ground_width_px=64)
    network = GeoFlow(config).eval()
    network.load_state_dict(trained.state_dict())
    exact, reduced = TorchBackend(network), TorchBackend(network, precision="bf16")
    assert (exact.precision, reduced.precision) == ("fp32", "bf16")
    patch, image = pictures(config)
    tokens = exact.satellite_tokens(patch)
    found = reduced.satellite_tokens(patch)
    assert found.dtype == torch.float32
    difference = float((found - tokens).norm() / tokens.norm())
    assert 1e-6 < difference < 0.05
    features = exact.f_vis(image, tokens)
    difference = float(np.linalg.norm(reduced.f_vis(image, tokens) - features) / np.linalg.norm(features))
    assert 1e-6 < difference < 0.05
    start = sample_hypotheses(1, 10, 0)
    assert np.array_equal(reduced.head(features, start, 0.5).refined, exact.head(features, start, 0.5).refined)


def test_memory_of_many_shapes_is_given_back(network: GeoFlow, backend: TorchBackend) -> None:
    for hypotheses in range(1, 13):  # more than are kept
        assert frame_of(backend, network.config, hypotheses, 2).path.shape == (3, 1, hypotheses, 2)
    again = frame_of(backend, network.config, 1, 2)
    assert np.array_equal(again.path[0], sample_hypotheses(1, 1, 0))


def test_images_that_may_not_be_written_to_are_taken_without_complaint(network: GeoFlow, backend: TorchBackend) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(frame_of(backend, network.config).path).all()


def test_a_failure_inside_torch_is_told_in_one_line_and_the_next_frame_answered(
    network: GeoFlow, backend: TorchBackend
) -> None:
    good = frame_of(backend, network.config).path
    with pytest.raises(BackendError, match="torch failed on cpu") as error:
        backend.head(np.zeros((1, 7), np.float32), np.zeros((1, 3, 2), np.float32), 0.5)  # features of another width
    assert "\n" not in str(error.value)
    np.testing.assert_allclose(frame_of(backend, network.config).path, good, atol=1e-5)
